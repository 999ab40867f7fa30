# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mfe_watchdog_global_optspecs
    string join \n runtime-dir= state-dir= h/help V/version
end

function __fish_mfe_watchdog_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mfe_watchdog_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mfe_watchdog_using_subcommand
    set -l cmd (__fish_mfe_watchdog_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -s V -l version -d 'Print version'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "run" -d 'Run the service in the foreground'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "check" -d 'Validate the configuration: prints OK, or every problem with its line; exits 78 if it is bad'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "status" -d 'Show the current state; exits 0 if all is up, 1 if not, 3 if the service isn\'t running'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "pause" -d 'Pause programs, for example during a driver update; ends by itself'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "resume" -d 'End a pause'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "restart" -d 'Restart a program, or start one that waits for its next try; exits 0 once it is up, 1 if it was refused, failed or isn\'t up yet'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "stop" -d 'Stop a program and pause it; exits 0 once it is gone, 1 if that was refused or it isn\'t'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "start" -d 'Start a program at once that was stopped, and end its pause; exits 0 once it is up or if it is already, 1 if it was refused, has failed or isn\'t up yet'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "doctor" -d 'Check the whole till and print the command that fixes each problem; exits 0 if nothing is found, 1 if something is'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "logs" -d 'Show what the programs print, whoever started them'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "events" -d 'Show what has happened, from the journal, a line each'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "report" -d 'Report availability and outages; exits 1 if neither the journal nor the service\'s own events can be read'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "exec" -d 'Execute the command configured for a program, unless it is already running; mfe@KEY.service runs this'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "at-shutdown" -d 'End what is left of the programs, at power-off only; mfe-watchdog-shutdown.service runs this'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand run" -l config -d 'The configuration [default: /etc/mfe-watchdog/config.toml, else the built-in one]' -r -F
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand run" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand run" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand run" -l alone -d 'Run even if the service of /run/mfe-watchdog watches programs of the same names'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand run" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand check" -l config -d 'The configuration [default: /etc/mfe-watchdog/config.toml, else the built-in one]' -r -F
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand check" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand check" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand check" -l show -d 'Show every setting, the defaults included, as a configuration'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand check" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand status" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand status" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand status" -l json -d 'Print the status as JSON'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand status" -l prometheus -d 'Print the status as metrics for Prometheus (OpenMetrics)'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand status" -l watch -d 'Show it again whenever it changes, until interrupted'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand status" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand pause" -l for -d 'For how long, such as 30m or 2h, at most 24h' -r -f
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand pause" -l reason -d 'Why; shown in the status and the journal' -r -f
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand pause" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand pause" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand pause" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand resume" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand resume" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand resume" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand restart" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand restart" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand restart" -l no-wait -d 'Don\'t wait until it is up'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand restart" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand stop" -l for -d 'For how long, such as 30m or 2h, at most 24h; then it is started again' -r -f
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand stop" -l reason -d 'Why, for the status and the journal' -r -f
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand stop" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand stop" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand stop" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand start" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand start" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand start" -l no-wait -d 'Ask for it only, and don\'t wait until it is up'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand start" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand doctor" -l config -d 'The configuration [default: /etc/mfe-watchdog/config.toml, else the built-in one]' -r -F
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand doctor" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand doctor" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand logs" -s n -l lines -d 'How many of the latest lines' -r
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand logs" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand logs" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand logs" -s f -l follow -d 'Also show new lines, until interrupted'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand logs" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand events" -s n -l lines -d 'How many, the latest' -r
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand events" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand events" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand events" -s f -l follow -d 'And each new one, until interrupted'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand events" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand report" -l since -d 'How far to look back, such as 24h, 7d or 2weeks; at most a year [default: 7d]' -r -f
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand report" -l month -d 'A month, such as 2026-10' -r -f
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand report" -l from -d 'From a day on, such as 2026-10-31, or "2026-10-31 14:30"' -r -f
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand report" -l to -d 'Up to a day, that day included, or to a moment on it [default: now]' -r -f
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand report" -l html -d 'Write the report to a file, as a page for a browser' -r -F
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand report" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand report" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand report" -l json -d 'Print the report as JSON'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand report" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand exec" -l config -d 'The configuration [default: /etc/mfe-watchdog/config.toml, else the built-in one]' -r -F
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand exec" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand exec" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand exec" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand at-shutdown" -l runtime-dir -d 'Where the service keeps its status and its lock [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand at-shutdown" -l state-dir -d 'Where the service keeps its saved state [default: $STATE_DIRECTORY, else /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn\'t the default]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand at-shutdown" -s h -l help -d 'Print help'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "run" -d 'Run the service in the foreground'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "check" -d 'Validate the configuration: prints OK, or every problem with its line; exits 78 if it is bad'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "status" -d 'Show the current state; exits 0 if all is up, 1 if not, 3 if the service isn\'t running'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "pause" -d 'Pause programs, for example during a driver update; ends by itself'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "resume" -d 'End a pause'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "restart" -d 'Restart a program, or start one that waits for its next try; exits 0 once it is up, 1 if it was refused, failed or isn\'t up yet'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "stop" -d 'Stop a program and pause it; exits 0 once it is gone, 1 if that was refused or it isn\'t'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "start" -d 'Start a program at once that was stopped, and end its pause; exits 0 once it is up or if it is already, 1 if it was refused, has failed or isn\'t up yet'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "doctor" -d 'Check the whole till and print the command that fixes each problem; exits 0 if nothing is found, 1 if something is'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "logs" -d 'Show what the programs print, whoever started them'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "events" -d 'Show what has happened, from the journal, a line each'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "report" -d 'Report availability and outages; exits 1 if neither the journal nor the service\'s own events can be read'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "exec" -d 'Execute the command configured for a program, unless it is already running; mfe@KEY.service runs this'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "at-shutdown" -d 'End what is left of the programs, at power-off only; mfe-watchdog-shutdown.service runs this'
complete -c mfe-watchdog -n "__fish_mfe_watchdog_using_subcommand help; and not __fish_seen_subcommand_from run check status pause resume restart stop start doctor logs events report exec at-shutdown help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
