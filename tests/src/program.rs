//! Programs that run beside a test, and waiting for what they do.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long [`eventually`] goes on trying: far beyond what a loaded machine with two cores needs.
const PATIENCE: Duration = Duration::from_secs(90);

/// Calls `attempt` until it succeeds.
///
/// # Errors
/// That of the last attempt, once patience is over.
pub fn eventually<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > end => {
                return Err(error.context(format!("gave up after {} s", PATIENCE.as_secs())));
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Runs `command` to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A running program, killed when dropped.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command` with its output in the file `log`.
    ///
    /// # Errors
    /// The command cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// The same, and waits until `is_ready` succeeds.
    ///
    /// # Errors
    /// The command cannot be started, or ends before, or `is_ready` goes on failing.
    pub fn start_until<T>(
        command: &mut Command,
        log: &Path,
        mut is_ready: impl FnMut() -> Result<T>,
    ) -> Result<Self> {
        let mut program = Self::start(command, log)?;
        eventually(|| {
            program.ensure_running()?;
            is_ready()
        })?;
        Ok(program)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it has printed `text`.
    ///
    /// # Errors
    /// It ends before, or does not in time.
    pub fn wait_for_output(&mut self, text: &str) -> Result<()> {
        let name = self.log.file_stem().unwrap_or_default().display().to_string();
        let ended = eventually(|| {
            // Asked first: what it says last is read after its end.
            let ended = self.child.try_wait()?;
            if self.output().contains(text) {
                return Ok(None);
            }
            ensure!(ended.is_some(), "{name} has not said '{text}'");
            Ok(ended)
        })?;
        let Some(status) = ended else { return Ok(()) };
        bail!("{name} ended ({status}) without saying '{text}':\n{}", self.output())
    }

    /// Fails if the program has ended; the message holds its output.
    fn ensure_running(&mut self) -> Result<()> {
        let status = self.child.try_wait()?;
        ensure!(status.is_none(), "it ended: {status:?}\n{}", self.output());
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().try_into()?), signal).context("it has ended")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        eventually(|| self.child.try_wait()?.context("it has not ended"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Neither can be helped: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
