//! A test in a process of its own: a bug is planted in a whole process, and no other test may meet
//! it.

use std::process::Command;

/// Set in the process that is a test's own.
const OWN_PROCESS_VARIABLE: &str = "MY_REDIS_TEST_PLANTED";

/// How the test has ended in its own process.
pub struct Ended {
    pub has_passed: bool,
    /// What it wrote.
    pub text: String,
}

/// Runs `test`, which is in the test with this path, in a process of its own; in that process
/// returns `None` once it has run.
#[track_caller]
pub fn in_own_process(path: &str, test: impl FnOnce()) -> Option<Ended> {
    if std::env::var_os(OWN_PROCESS_VARIABLE).is_some() {
        test();
        return None;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([path, "--exact", "--nocapture"])
        .env(OWN_PROCESS_VARIABLE, "1")
        .output()
        .unwrap();
    let written = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&written).into_owned();
    assert!(text.contains("running 1 test\n"), "{path} is no test: {text}");
    Some(Ended { has_passed: output.status.success(), text })
}
