# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mfe_central_global_optspecs
    string join \n config= h/help V/version
end

function __fish_mfe_central_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mfe_central_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mfe_central_using_subcommand
    set -l cmd (__fish_mfe_central_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mfe-central -n "__fish_mfe_central_needs_command" -l config -d 'The configuration; without the file all is as by default' -r -F
complete -c mfe-central -n "__fish_mfe_central_needs_command" -s h -l help -d 'Print help'
complete -c mfe-central -n "__fish_mfe_central_needs_command" -s V -l version -d 'Print version'
complete -c mfe-central -n "__fish_mfe_central_needs_command" -f -a "run" -d 'Run the service in the foreground'
complete -c mfe-central -n "__fish_mfe_central_needs_command" -f -a "check" -d 'Validate the configuration: prints OK, or every problem with its line; exits 78 if it is bad'
complete -c mfe-central -n "__fish_mfe_central_needs_command" -f -a "enroll" -d 'Make a till: prints the token that it joins with, which is shown only once; needs root'
complete -c mfe-central -n "__fish_mfe_central_needs_command" -f -a "renew" -d 'Give a till another token: the one that it had is closed at once. Without a till, the broker and the page get new certificates; needs root'
complete -c mfe-central -n "__fish_mfe_central_needs_command" -f -a "revoke" -d 'Close the broker to a till at once; what it has sent stays; needs root'
complete -c mfe-central -n "__fish_mfe_central_needs_command" -f -a "setup" -d 'Make this machine an office: broker, certificates, database, service, site; says what it changes; needs root'
complete -c mfe-central -n "__fish_mfe_central_needs_command" -f -a "doctor" -d 'Find what is wrong with the office, and say what to do; exits 1 if anything is; needs root'
complete -c mfe-central -n "__fish_mfe_central_needs_command" -f -a "tills" -d 'Note in the database that the tills of standard input, one a line, are enrolled'
complete -c mfe-central -n "__fish_mfe_central_needs_command" -f -a "schema" -d 'Bring the database\'s tables to their present form, and print how many steps that took'
complete -c mfe-central -n "__fish_mfe_central_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand run" -l config -d 'The configuration; without the file all is as by default' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand run" -s h -l help -d 'Print help'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand check" -l config -d 'The configuration; without the file all is as by default' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand check" -s h -l help -d 'Print help'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand enroll" -l csv -d 'Make all tills of a list, one in the first column of each line; prints lines of TILL,TOKEN' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand enroll" -l config -d 'The configuration; without the file all is as by default' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand enroll" -s h -l help -d 'Print help'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand renew" -l user -d 'Who the service runs as' -r -f -a "(__fish_complete_users)"
complete -c mfe-central -n "__fish_mfe_central_using_subcommand renew" -l rabbitmq-dir -d 'Where RabbitMQ\'s configuration is' -r -f -a "(__fish_complete_directories)"
complete -c mfe-central -n "__fish_mfe_central_using_subcommand renew" -l config -d 'The configuration; without the file all is as by default' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand renew" -s h -l help -d 'Print help'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand revoke" -l config -d 'The configuration; without the file all is as by default' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand revoke" -s h -l help -d 'Print help'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand setup" -l name -d 'The name or address by which tills reach this machine' -r -f -a "(__fish_print_hostnames)"
complete -c mfe-central -n "__fish_mfe_central_using_subcommand setup" -l certificate -d 'The page\'s certificate, if it isn\'t to be of the office\'s own authority' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand setup" -l key -d 'Its key' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand setup" -l user -d 'Who the service runs as' -r -f -a "(__fish_complete_users)"
complete -c mfe-central -n "__fish_mfe_central_using_subcommand setup" -l rabbitmq-dir -d 'Where RabbitMQ\'s configuration is' -r -f -a "(__fish_complete_directories)"
complete -c mfe-central -n "__fish_mfe_central_using_subcommand setup" -l config -d 'The configuration; without the file all is as by default' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand setup" -s h -l help -d 'Print help'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand doctor" -l user -d 'Who the service runs as' -r -f -a "(__fish_complete_users)"
complete -c mfe-central -n "__fish_mfe_central_using_subcommand doctor" -l rabbitmq-dir -d 'Where RabbitMQ\'s configuration is' -r -f -a "(__fish_complete_directories)"
complete -c mfe-central -n "__fish_mfe_central_using_subcommand doctor" -l config -d 'The configuration; without the file all is as by default' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand tills" -l config -d 'The configuration; without the file all is as by default' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand tills" -l gone -d 'They aren\'t any more'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand tills" -s h -l help -d 'Print help'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand schema" -l config -d 'The configuration; without the file all is as by default' -r -F
complete -c mfe-central -n "__fish_mfe_central_using_subcommand schema" -l dry-run -d 'Only connect'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand schema" -s h -l help -d 'Print help'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand help; and not __fish_seen_subcommand_from run check enroll renew revoke setup doctor tills schema help" -f -a "run" -d 'Run the service in the foreground'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand help; and not __fish_seen_subcommand_from run check enroll renew revoke setup doctor tills schema help" -f -a "check" -d 'Validate the configuration: prints OK, or every problem with its line; exits 78 if it is bad'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand help; and not __fish_seen_subcommand_from run check enroll renew revoke setup doctor tills schema help" -f -a "enroll" -d 'Make a till: prints the token that it joins with, which is shown only once; needs root'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand help; and not __fish_seen_subcommand_from run check enroll renew revoke setup doctor tills schema help" -f -a "renew" -d 'Give a till another token: the one that it had is closed at once. Without a till, the broker and the page get new certificates; needs root'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand help; and not __fish_seen_subcommand_from run check enroll renew revoke setup doctor tills schema help" -f -a "revoke" -d 'Close the broker to a till at once; what it has sent stays; needs root'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand help; and not __fish_seen_subcommand_from run check enroll renew revoke setup doctor tills schema help" -f -a "setup" -d 'Make this machine an office: broker, certificates, database, service, site; says what it changes; needs root'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand help; and not __fish_seen_subcommand_from run check enroll renew revoke setup doctor tills schema help" -f -a "doctor" -d 'Find what is wrong with the office, and say what to do; exits 1 if anything is; needs root'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand help; and not __fish_seen_subcommand_from run check enroll renew revoke setup doctor tills schema help" -f -a "tills" -d 'Note in the database that the tills of standard input, one a line, are enrolled'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand help; and not __fish_seen_subcommand_from run check enroll renew revoke setup doctor tills schema help" -f -a "schema" -d 'Bring the database\'s tables to their present form, and print how many steps that took'
complete -c mfe-central -n "__fish_mfe_central_using_subcommand help; and not __fish_seen_subcommand_from run check enroll renew revoke setup doctor tills schema help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
