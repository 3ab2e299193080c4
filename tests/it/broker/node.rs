//! One Kafka node: broker and controller in one process, with a folder of its own.

use std::fmt::Write as _;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

use super::wait;

const VERSION: &str = "4.1.0";

/// Java's flags.
pub(super) type Flags = &'static [&'static str];

/// Those for a broker that starts soon and does little.
pub(super) const QUICK: [&str; 3] = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>test</groupId><artifactId>broker</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.0</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
"#;

/// Ends the node and removes its folder once this process is gone, however it went: the pipe
/// that `read` waits on closes by itself.
const WATCH: &str = r#"read _
kill -9 "$1"
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
rm -rf -- "$2""#;

/// A node; its process ends with it.
#[derive(Debug)]
pub(super) struct Node {
    folder: TempDir,
    flags: Flags,
    class_path: String,
    id: i32,
    cluster: String,
    ports: Ports,
    /// Of the listener for clients, and of a second one, for those whose properties ask for one.
    address: String,
    secure_address: String,
    running: Mutex<Option<Running>>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    clients: u16,
    controller: u16,
    secure: u16,
}

#[derive(Debug)]
struct Running {
    java: Child,
    watch: Child,
}

fn jars() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join(format!("kafka-{VERSION}"))
}

/// Whether the jars need not be fetched.
pub(super) fn has_jars() -> bool {
    jars().join("ready").exists()
}

/// The class path of a node, fetched once per target folder.
fn class_path() -> String {
    let folder = jars();
    std::fs::create_dir_all(&folder).unwrap();
    // Held until the end: test binaries may run side by side.
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    if !has_jars() {
        std::fs::write(folder.join("pom.xml"), POM).unwrap();
        let mut fetch = Command::new("mvn");
        fetch.args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]);
        succeed(fetch.current_dir(&folder));
        File::create(folder.join("ready")).unwrap();
    }
    format!("{}/*", folder.join("lib").display())
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

impl Node {
    /// So many nodes of one cluster, on ports that are free now; to be formatted and started.
    pub(super) fn some(count: usize, cluster: &str, flags: Flags) -> Vec<Node> {
        let class_path = class_path();
        // All held at once, so that they differ.
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let held: Vec<[TcpListener; 3]> = (0..count).map(|_| [free(), free(), free()]).collect();
        let node = |(id, held): (i32, &[TcpListener; 3])| {
            let port = |held: &TcpListener| held.local_addr().unwrap().port();
            let [clients, controller, secure] = held;
            let ports = Ports {
                clients: port(clients),
                controller: port(controller),
                secure: port(secure),
            };
            let place =
                tempfile::Builder::new().prefix("kafka-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
            Node {
                folder: place.unwrap(),
                flags,
                class_path: class_path.clone(),
                id,
                cluster: cluster.to_owned(),
                ports,
                address: format!("127.0.0.1:{}", ports.clients),
                secure_address: format!("127.0.0.1:{}", ports.secure),
                running: Mutex::new(None),
            }
        };
        (1..).zip(&held).map(node).collect()
    }

    pub(super) fn id(&self) -> i32 {
        self.id
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn secure_address(&self) -> &str {
        &self.secure_address
    }

    /// Makes its log folder; `words` are for `kafka.tools.StorageTool format`.
    pub(super) fn format(&self, all: &[Node], properties: &[(&str, &str)], words: &[&str]) {
        std::fs::write(self.settings(), self.properties(all, properties)).unwrap();
        let mut format = self.java();
        format.args(["kafka.tools.StorageTool", "format", "-t", &self.cluster, "-c"]);
        succeed(format.arg(self.settings()).args(words));
    }

    /// Begins with what another node has on disk, of the same cluster and number.
    pub(super) fn take_over(&self, from: &Node) {
        std::fs::write(self.settings(), self.properties(std::slice::from_ref(self), &[])).unwrap();
        let data = |node: &Node| node.folder.path().join("data");
        succeed(Command::new("cp").arg("-a").arg(data(from)).arg(data(self)));
    }

    /// `{port}`, `{controller}` and `{secure}` in the values stand for the ports.
    fn properties(&self, all: &[Node], more: &[(&str, &str)]) -> String {
        let Ports { clients, controller, secure } = self.ports;
        let voters: Vec<String> = all
            .iter()
            .map(|node| format!("{}@127.0.0.1:{}", node.id, node.ports.controller))
            .collect();
        let mut text = format!(
            "process.roles=broker,controller\nnode.id={}\n\
             controller.quorum.voters={}\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controller}\n\
             log.dirs={}\nauto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=4\ngroup.initial.rebalance.delay.ms=0\n\
             broker.heartbeat.interval.ms=500\nbroker.session.timeout.ms=3000\n",
            self.id,
            voters.join(","),
            self.folder.path().join("data").display(),
        );
        for (key, value) in more {
            let value = value.replace("{port}", &clients.to_string());
            let value = value.replace("{controller}", &controller.to_string());
            writeln!(text, "{key}={}", value.replace("{secure}", &secure.to_string())).unwrap();
        }
        text
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    /// What it has said since its start.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("broker.log")).unwrap_or_default()
    }

    fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.args(self.flags);
        java.args(["-Dorg.apache.logging.log4j.level=WARN", "-cp", &self.class_path]);
        java
    }

    /// Starts its process, and waits for nothing.
    pub(super) fn start(&self) {
        let log = File::create(self.folder.path().join("broker.log")).unwrap();
        let mut java = self.java();
        java.arg("kafka.Kafka").arg(self.settings()).process_group(0);
        java.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let java = java.spawn().unwrap();
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "sh", &java.id().to_string()]).arg(self.folder.path());
        watch.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        *self.running.lock().unwrap() = Some(Running { java, watch: watch.spawn().unwrap() });
    }

    /// Whether its process is gone.
    pub(super) fn has_ended(&self) -> bool {
        let ended = |running: &mut Running| running.java.try_wait().unwrap().is_some();
        self.running.lock().unwrap().as_mut().is_none_or(ended)
    }

    /// Ends its process at once, as a crash would; ports and log stay.
    pub(super) fn kill(&self) {
        if let Some(mut running) = self.running.lock().unwrap().take() {
            // The watch first, so that it never ends a process that has inherited the number.
            for child in [&mut running.watch, &mut running.java] {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
    }

    /// Asks its process to end, and waits for that.
    pub(super) fn shut_down(&self) {
        if let Some(running) = self.running.lock().unwrap().as_ref() {
            let mut kill = Command::new("kill");
            succeed(kill.arg(running.java.id().to_string()));
        }
        wait("the node has ended", || self.has_ended());
        self.kill();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
