//! The command line.

use std::process::Command;

use mfe_kit::output;

fn check(config: &str, language: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mfe-central"));
    let done = output(
        command
            .arg("check")
            .arg("--config")
            .arg(&file)
            .env("LC_ALL", language),
    );
    let said = (done.stdout.clone() + &done.stderr).replace(&file.display().to_string(), "FILE");
    (done.code(), said)
}

#[test]
fn check_tells_what_is_wrong_in_the_users_language() {
    assert_eq!(check("heartbeat = \"5s\"\n", "C"), (0, "OK: FILE\n".into()));
    let bad = "\nlisten = \"0.0.0.0:80\"\nheartbeat = \"1s\"\n";
    let (code, said) = check(bad, "C.UTF-8");
    assert_eq!(code, 78);
    assert!(
        said.starts_with("FILE:2: listen: write an address of this machine"),
        "{said}"
    );
    assert!(said.contains("\nFILE:3: heartbeat: "), "{said}");
    let (code, said) = check(bad, "pt_BR.UTF-8");
    assert_eq!(code, 78);
    assert!(
        said.starts_with("FILE:2: listen: escreva um endereço desta máquina"),
        "{said}"
    );
}

#[test]
fn it_does_not_run_without_the_brokers_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(
        &file,
        "password_file = \"/nonexistent\"\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mfe-central"));
    let done = output(command.arg("run").arg("--config").arg(&file));
    assert_eq!(done.code(), 1);
    assert!(
        done.stderr
            .contains("password can't be read from /nonexistent"),
        "{}",
        done.stderr
    );
}
