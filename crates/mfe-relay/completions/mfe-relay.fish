# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mfe_relay_global_optspecs
    string join \n config-dir= state-dir= runtime-dir= h/help V/version
end

function __fish_mfe_relay_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mfe_relay_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mfe_relay_using_subcommand
    set -l cmd (__fish_mfe_relay_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mfe-relay -n "__fish_mfe_relay_needs_command" -l config-dir -d 'Where the configuration and the credential are [default: /etc/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_needs_command" -l state-dir -d 'Where it is kept what has been delivered [default: $STATE_DIRECTORY, else /var/lib/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_needs_command" -l runtime-dir -d 'Where the service tells its status [default: $RUNTIME_DIRECTORY, else /run/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_needs_command" -s h -l help -d 'Print help'
complete -c mfe-relay -n "__fish_mfe_relay_needs_command" -s V -l version -d 'Print version'
complete -c mfe-relay -n "__fish_mfe_relay_needs_command" -f -a "join" -d 'Connect this till to an office: asks for the token, or reads it from standard input; needs root'
complete -c mfe-relay -n "__fish_mfe_relay_needs_command" -f -a "run" -d 'Run the service in the foreground'
complete -c mfe-relay -n "__fish_mfe_relay_needs_command" -f -a "status" -d 'Show whether events arrive, and why not; exits 0 if all is well, 1 if not, 3 if the service isn\'t running'
complete -c mfe-relay -n "__fish_mfe_relay_needs_command" -f -a "check" -d 'Validate the configuration: prints OK, or every problem with its line; exits 78 if it is bad'
complete -c mfe-relay -n "__fish_mfe_relay_needs_command" -f -a "leave" -d 'Stop the service and forget the credential; needs root'
complete -c mfe-relay -n "__fish_mfe_relay_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand join" -l history -d 'Also send what has happened before, such as 30d' -r -f
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand join" -l config-dir -d 'Where the configuration and the credential are [default: /etc/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand join" -l state-dir -d 'Where it is kept what has been delivered [default: $STATE_DIRECTORY, else /var/lib/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand join" -l runtime-dir -d 'Where the service tells its status [default: $RUNTIME_DIRECTORY, else /run/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand join" -s h -l help -d 'Print help'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand run" -l watchdog-dir -d 'Where mfe-watchdog publishes its status [default: /run/mfe-watchdog]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand run" -l config-dir -d 'Where the configuration and the credential are [default: /etc/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand run" -l state-dir -d 'Where it is kept what has been delivered [default: $STATE_DIRECTORY, else /var/lib/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand run" -l runtime-dir -d 'Where the service tells its status [default: $RUNTIME_DIRECTORY, else /run/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand run" -s h -l help -d 'Print help'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand status" -l config-dir -d 'Where the configuration and the credential are [default: /etc/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand status" -l state-dir -d 'Where it is kept what has been delivered [default: $STATE_DIRECTORY, else /var/lib/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand status" -l runtime-dir -d 'Where the service tells its status [default: $RUNTIME_DIRECTORY, else /run/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand status" -l json -d 'Print the status as JSON'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand status" -s h -l help -d 'Print help'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand check" -l config-dir -d 'Where the configuration and the credential are [default: /etc/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand check" -l state-dir -d 'Where it is kept what has been delivered [default: $STATE_DIRECTORY, else /var/lib/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand check" -l runtime-dir -d 'Where the service tells its status [default: $RUNTIME_DIRECTORY, else /run/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand check" -s h -l help -d 'Print help'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand leave" -l config-dir -d 'Where the configuration and the credential are [default: /etc/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand leave" -l state-dir -d 'Where it is kept what has been delivered [default: $STATE_DIRECTORY, else /var/lib/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand leave" -l runtime-dir -d 'Where the service tells its status [default: $RUNTIME_DIRECTORY, else /run/mfe-relay]' -r -f -a "(__fish_complete_directories)"
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand leave" -s h -l help -d 'Print help'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand help; and not __fish_seen_subcommand_from join run status check leave help" -f -a "join" -d 'Connect this till to an office: asks for the token, or reads it from standard input; needs root'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand help; and not __fish_seen_subcommand_from join run status check leave help" -f -a "run" -d 'Run the service in the foreground'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand help; and not __fish_seen_subcommand_from join run status check leave help" -f -a "status" -d 'Show whether events arrive, and why not; exits 0 if all is well, 1 if not, 3 if the service isn\'t running'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand help; and not __fish_seen_subcommand_from join run status check leave help" -f -a "check" -d 'Validate the configuration: prints OK, or every problem with its line; exits 78 if it is bad'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand help; and not __fish_seen_subcommand_from join run status check leave help" -f -a "leave" -d 'Stop the service and forget the credential; needs root'
complete -c mfe-relay -n "__fish_mfe_relay_using_subcommand help; and not __fish_seen_subcommand_from join run status check leave help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
