//! `tidegate run` as a process of its own, for tests from the outside.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(1);

/// A running instance; killed when dropped.
pub(crate) struct Instance {
    child: Mutex<Child>,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
    /// Where its web pages are.
    pub(crate) address: String,
}

impl Instance {
    /// Starts the binary in `folder`, whose `tidegate.yaml` it reads, and waits for its pages.
    pub(crate) fn start(folder: &Path) -> Instance {
        Instance::spawn(Command::new(env!("CARGO_BIN_EXE_tidegate")), folder)
    }

    /// The same with a binary of the caller's choice.
    pub(crate) fn spawn(mut command: Command, folder: &Path) -> Instance {
        command.args(["run", "--log-format", "json", "--listen", "127.0.0.1:0"]);
        command.current_dir(folder);
        if command.get_envs().all(|(name, _)| name != "TIDEGATE_LOG") {
            command.env("TIDEGATE_LOG", "info,librdkafka=off,rdkafka=off");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log: Arc<(Mutex<Vec<String>>, Condvar)> = Arc::default();
        let (lines, sink) = (BufReader::new(child.stderr.take().unwrap()), log.clone());
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                sink.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                sink.1.notify_all();
            }
        });
        let mut instance = Instance { child: Mutex::new(child), log, address: String::new() };
        let started = instance.line("\"started\"");
        let line: Value = serde_json::from_str(&started).unwrap();
        line["fields"]["address"].as_str().unwrap().clone_into(&mut instance.address);
        instance
    }

    /// Waits for a line of the log that holds `text`.
    pub(crate) fn line(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.log.0.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line with {text} in {lines:#?}");
            lines = self.log.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// All that it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.0.lock().unwrap().join("\n")
    }

    /// Status and body of one of its pages.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.address);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let answer = reqwest::get(url).await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.get("/readyz").0 == 200
    }

    /// How many partitions of its input topics its workers have.
    pub(crate) fn partitions(&self) -> usize {
        let status: Value = serde_json::from_str(&self.get("/api/v1/status").1).unwrap();
        let workers = status["workers"].as_array().unwrap().iter();
        workers.map(|worker| worker["partitions"].as_array().unwrap().len()).sum()
    }

    /// The sum of an integer metric over its labels, of those series that hold `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> u64 {
        let (_, text) = self.get("/metrics");
        let series = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{'])) && line.contains(label)
        });
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([&format!("-{name}"), &self.id().to_string()]);
        assert!(kill.status().unwrap().success());
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Whether its process is gone.
    pub(crate) fn has_ended(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_some()
    }

    /// Asks it to stop and waits for the end.
    pub(crate) fn stop(self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.signal("TERM");
        let status = self.child.lock().unwrap().wait().unwrap();
        (status, asked.elapsed())
    }

    /// Asks it to leave its groups and stop, and waits for the end.
    pub(crate) fn leave(self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.signal("USR1");
        let status = self.child.lock().unwrap().wait().unwrap();
        (status, asked.elapsed())
    }

    /// Waits for an end that nobody asked for.
    pub(crate) fn end(self) -> ExitStatus {
        self.child.lock().unwrap().wait().unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever waited for a line in vain held the lock.
            let log = self.log.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
            std::io::stderr().write_all(log.as_bytes()).unwrap();
        }
        // Fails when it has ended already.
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(child.kill());
        drop(child.wait());
    }
}
