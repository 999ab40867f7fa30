//! The cases: what each suite, and the package itself, has to show.

mod advice;
mod beside;
mod boot;
mod doctor;
mod documentation;
mod faults;
mod health;
mod hooks;
mod hostile;
mod identity;
mod installation;
mod lineage;
mod office;
mod old_systems;
mod operation;
pub(crate) mod package;
mod relay;
mod report;
mod screen;
mod starts;
mod state;
mod units;

use anyhow::Result;

use crate::chaos;
use crate::till::Till;
use mfe_kit::janitor::Scene;
use mfe_kit::package::Packages;
use mfe_kit::trees::Trees;

/// A case that is run on every suite, on a till with the package and nothing else.
pub(crate) struct TillCase {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Till) -> Result<()>,
}

/// A case about the package itself.
pub(crate) struct HostCase {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Scene, &Trees, &Packages) -> Result<()>,
    pub(crate) needs_toolchain_tree: bool,
}

macro_rules! till_cases {
    ($($module:ident::$case:ident),* $(,)?) => {
        &[$(TillCase { name: stringify!($case), run: $module::$case }),*]
    };
}

/// In the order in which they are run.
pub(crate) const TILL_CASES: &[TillCase] = till_cases![
    installation::install,
    units::verify_and_exposure,
    operation::adopt_what_runs,
    operation::kill_comunicador,
    operation::kill_monitor,
    operation::twelve_kills_in_a_row,
    operation::quiet_when_all_is_well,
    starts::script_stays,
    starts::script_forks,
    starts::script_takes_15_s,
    starts::script_fails,
    starts::last_lines_told,
    starts::script_missing_then_there,
    starts::command_replaced,
    starts::systemd_refuses,
    starts::program_is_outside_the_sandbox,
    starts::settings_of_the_administrator,
    starts::exec_of_an_unknown_key,
    screen::session_killed_twenty_times,
    screen::session_login_and_logout,
    screen::session_of_two_users,
    screen::session_behind_a_greeter,
    screen::session_of_roots_kiosk,
    screen::session_roots_copy,
    screen::session_display_is_gone,
    screen::session_poisoned,
    screen::session_without_logind,
    screen::session_started_directly,
    screen::session_user_of_the_unit,
    identity::pids_reused_within_a_second,
    health::unhealthy_unit,
    health::another_users_program,
    health::tcp_check,
    hooks::hook_in_the_sandbox,
    hooks::slow_shutdown_hook,
    operation::stop_start_restart,
    operation::stop_and_start_a_program,
    operation::told_in_both_languages,
    report::outages_as_they_were,
    report::journal_flooded,
    report::journal_file_lost,
    report::journal_vacuumed,
    report::chatty_program,
    report::watchdog_hangs,
    operation::reload_good,
    operation::reload_bad,
    operation::bad_config_at_start,
    documentation::journal_explains,
    documentation::manual_pages,
    documentation::completions,
    documentation::removed,
    faults::service_killed,
    faults::helper_outlives_all,
    faults::children_outlive_the_service,
    state::config_fallback,
    state::config_built_in,
    state::folder_removed,
    state::remembered,
    state::start_in_flight,
    state::disk_read_only_and_full,
    faults::service_hangs,
    faults::systemd_hangs,
    faults::service_killed_in_a_start,
    faults::service_hangs_in_a_start,
    beside::restart_by_hand_of_what_forks,
    beside::start_beside_an_adopted_one,
    beside::restart_by_hand_of_what_stays,
    beside::restart_by_hand_seen_late,
    beside::restart_by_hand_of_a_start_in_flight,
    beside::restart_by_hand_as_another_user,
    beside::systemd_executes_itself_anew,
    beside::private_socket_is_away,
    lineage::exit_status_lies,
    lineage::late_in_the_background,
    lineage::late_second_copy,
    lineage::renamed,
    lineage::nearly_the_program,
    lineage::the_child_goes_on,
    lineage::forks_twice,
    hostile::attack_by_a_crowd,
    hostile::attack_by_a_crowd_beside_the_rules,
    hostile::attack_by_long_arguments,
    hostile::attack_by_what_cannot_be_read,
    hostile::attack_by_what_passes_for_the_program,
    hostile::attack_by_what_one_rule_refuses,
    faults::journal_stopped,
    faults::journal_frozen,
    old_systems::kernel_of_16_04,
    old_systems::journal_of_16_04,
    old_systems::settings_by_version,
    units::other_target,
    units::sysv_script,
    units::start_limit,
    doctor::doctor,
    advice::hostile_open_tree,
    advice::hostile_locks,
    advice::hostile_reader,
    advice::hostile_leftovers,
    installation::old_watcher,
    installation::upgrade_and_downgrade,
    installation::upgrade_without_session,
    installation::remove_and_reinstall,
    installation::purge,
    installation::old_init_system_helpers,
    boot::rc_local_that_stays,
    boot::rc_local_goes_first,
    state::pause_over_a_reboot,
    operation::reboot,
    beside::power_off_waits_for_nobody,
    beside::power_off_is_no_outage,
    relay::relay_joins_and_leaves,
];

/// On a 32-bit till: what differs there is how the service speaks to the kernel, systemd and the journal.
pub(crate) const I386_CASES: &[TillCase] = till_cases![
    installation::install,
    operation::adopt_what_runs,
    operation::kill_comunicador,
    operation::kill_monitor,
    starts::script_forks,
    report::outages_as_they_were,
    operation::stop_start_restart,
    operation::reload_good,
    operation::reload_bad,
    faults::service_killed,
    faults::service_hangs,
    state::remembered,
    state::start_in_flight,
    old_systems::kernel_of_16_04,
    old_systems::journal_of_16_04,
    installation::purge,
];

/// Run where there is a real X server.
pub(crate) const SCREEN_CASES: &[TillCase] = till_cases![screen::window_is_back];

/// Run where the office's engines are.
pub(crate) const OFFICE_CASES: &[TillCase] = till_cases![office::office_is_set_up_and_purged];

/// Run on a machine of its own, beside all others.
pub(crate) const CHAOS_CASES: &[TillCase] = till_cases![chaos::chaos];

pub(crate) const HOST_CASES: &[HostCase] = &[
    HostCase {
        name: "contents",
        run: package::contents,
        needs_toolchain_tree: false,
    },
    HostCase {
        name: "licences",
        run: package::licences,
        needs_toolchain_tree: false,
    },
    HostCase {
        name: "needrestart",
        run: package::needrestart,
        needs_toolchain_tree: false,
    },
    HostCase {
        name: "units_for_old_systemd",
        run: package::units_for_old_systemd,
        needs_toolchain_tree: false,
    },
    HostCase {
        name: "lintian",
        run: package::lintian,
        needs_toolchain_tree: false,
    },
    HostCase {
        name: "one_version",
        run: package::one_version,
        needs_toolchain_tree: false,
    },
    HostCase {
        name: "reproducible",
        run: package::reproducible,
        needs_toolchain_tree: false,
    },
    HostCase {
        name: "minimum_supported_rust",
        run: package::minimum_supported_rust,
        needs_toolchain_tree: true,
    },
    HostCase {
        name: "other_architectures",
        run: package::other_architectures,
        needs_toolchain_tree: true,
    },
];
