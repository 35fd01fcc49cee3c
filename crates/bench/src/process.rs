//! Reads from `/proc` what a process costs: CPU time, context switches, bytes written, memory.
//! Nothing is estimated.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Linux reports CPU time in hundredths of a second, whatever the kernel's own tick.
const TICK_US: u64 = 10_000;

/// How often a tree of processes is counted until nothing of it has ended meanwhile.
const TREE_TRIES: u32 = 100;

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Memory {
    /// All resident pages.
    pub(crate) resident: u64,
    /// Those of them that belong to the binary and shared libraries and are unchanged. The kernel
    /// can drop them and read them again.
    pub(crate) program: u64,
}

impl Memory {
    /// The number that is reported: resident, without the program's own pages.
    pub(crate) fn own(self) -> u64 {
        self.resident.saturating_sub(self.program)
    }
}

/// What a process has cost since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ProcessCost {
    pub(crate) cpu_us: u64,
    /// Context switches of its threads, voluntary or not.
    pub(crate) switches: u64,
    /// Bytes written by system calls, whether they reached the disk or not.
    pub(crate) written: u64,
}

/// The cost of a process. Switches are those of threads that still run; the server's run as long as
/// it does.
pub(crate) fn effort(pid: u32) -> Result<ProcessCost> {
    let threads = format!("/proc/{pid}/task");
    let mut switches = 0;
    for thread in
        std::fs::read_dir(&threads).with_context(|| format!("{threads} does not exist"))?
    {
        // A thread that has just ended has no file any more.
        let status = std::fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        switches += context_switches(&status);
    }
    let io = read(&format!("/proc/{pid}/io"))?;
    let written = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(ProcessCost {
        cpu_us: cpu_us(pid)?,
        switches,
        written: written
            .and_then(|bytes| bytes.trim().parse().ok())
            .context("the kernel does not say how much was written")?,
    })
}

fn context_switches(status: &str) -> u64 {
    let count = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.ends_with("voluntary_ctxt_switches")
            .then(|| value.trim().parse::<u64>().ok())?
    };
    status.lines().filter_map(count).sum()
}

/// How many threads a process has.
pub(crate) fn threads(pid: u32) -> Result<u64> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let threads = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"));
    threads
        .and_then(|count| count.trim().parse().ok())
        .context("the kernel does not say how many threads there are")
}

/// How long the calling thread has run, in microseconds.
pub(crate) fn thread_cpu_us() -> Result<f64> {
    let stat = read("/proc/thread-self/schedstat")?;
    let nanoseconds = stat.split_whitespace().next();
    let nanoseconds: Option<f64> = nanoseconds.and_then(|text| text.parse().ok());
    Ok(nanoseconds.context("the kernel does not count how long threads run")? / 1_000.0)
}

/// User and system time of all threads since the process started, in microseconds.
pub(crate) fn cpu_us(pid: u32) -> Result<u64> {
    Ok(stat_of(pid)?.own.saturating_mul(TICK_US))
}

/// The same of a process and everything below it, children that have ended included: those that
/// somebody waited for, as every server does. A process that runs counts by the microsecond: many
/// that do little each would be nothing in steps of ten milliseconds.
pub(crate) fn tree_cpu_us(root: u32) -> Result<u64> {
    let mut before = stat_of(root)?;
    for _ in 0..TREE_TRIES {
        let below = descendants(root, &all_processes()?);
        let below: u64 = below.iter().map(ProcessStat::tree_us).sum();
        let after = stat_of(root)?;
        // A child that ends in between would count twice, or not at all.
        if after.ended == before.ended {
            return Ok(after.tree_us().saturating_add(below));
        }
        before = after;
    }
    bail!("children of the process {root} end faster than they can be counted")
}

/// What is wanted of `/proc/PID/stat`; times in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ProcessStat {
    pid: u32,
    parent: u32,
    own: u64,
    /// Of children that were waited for, and of theirs.
    ended: u64,
}

impl ProcessStat {
    /// Its time and that of its children that have ended, in microseconds.
    fn tree_us(&self) -> u64 {
        let own = self.own.saturating_mul(TICK_US);
        let ended = self.ended.saturating_mul(TICK_US);
        own.max(threads_us(self.pid)).saturating_add(ended)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The program's name may contain spaces and brackets; nothing after its last bracket does.
        let (head, rest) = stat.rsplit_once(')')?;
        let (pid, _) = head.split_once(' ')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            pid: pid.parse().ok()?,
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)?.saturating_add(ticks(12)?),
            ended: ticks(13)?.saturating_add(ticks(14)?),
        })
    }
}

fn stat_of(pid: u32) -> Result<ProcessStat> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    ProcessStat::parse(&stat).with_context(|| format!("/proc/{pid}/stat has an unknown format"))
}

/// How long the threads of a process that still run have run, in microseconds; 0 if it has ended
/// or the kernel does not count it.
fn threads_us(pid: u32) -> u64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    let nanoseconds = |thread: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    };
    threads.filter_map(nanoseconds).sum::<u64>() / 1_000
}

fn all_processes() -> Result<Vec<ProcessStat>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").context("/proc cannot be read")? {
        let path = entry?.path();
        let is_process = path
            .file_name()
            .and_then(|name| name.to_str()?.parse::<u32>().ok());
        if is_process.is_some() {
            // One that has just ended has no file any more.
            let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
            all.extend(ProcessStat::parse(&stat));
        }
    }
    Ok(all)
}

/// All processes below one, without it.
fn descendants(root: u32, all: &[ProcessStat]) -> Vec<ProcessStat> {
    let mut found: Vec<ProcessStat> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|stat| stat.parent == parent);
        for child in children {
            parents.push(child.pid);
            found.push(*child);
        }
    }
    found
}

pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let rollup = read(&format!("/proc/{pid}/smaps_rollup"))?;
    let resident = rollup.lines().find_map(|line| kib("Rss", line));
    let resident = resident.context("the kernel does not say how much memory is resident")?;
    let maps = read(&format!("/proc/{pid}/smaps"))?;
    Ok(Memory {
        resident: resident * 1_024,
        program: program_kib(&maps) * 1_024,
    })
}

/// KiB of resident, unchanged pages of every file that has an executable mapping.
fn program_kib(maps: &str) -> u64 {
    let mut clean: BTreeMap<&str, u64> = BTreeMap::new();
    let mut executable: BTreeMap<&str, bool> = BTreeMap::new();
    let mut file = "";
    for line in maps.lines() {
        if let Some(resident) = kib("Rss", line) {
            *clean.entry(file).or_default() += resident;
        } else if let Some(anonymous) = kib("Anonymous", line) {
            let clean = clean.entry(file).or_default();
            *clean = clean.saturating_sub(anonymous);
        } else if let Some((path, rights)) = mapping(line) {
            file = path;
            *executable.entry(file).or_default() |= rights.contains('x');
        }
    }
    let is_program = |file: &str| file.starts_with('/') && executable.get(file) == Some(&true);
    let program = clean.iter().filter(|(file, _)| is_program(file));
    program.map(|(_, kib)| kib).sum()
}

/// `7f00-7f01 r-xp 00000000 fd:00 1234   /usr/lib/libc.so.6`, without a file the path is empty.
fn mapping(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    let range = words.next()?;
    let rights = words.next()?;
    if range.ends_with(':') || !range.contains('-') {
        return None;
    }
    let path = line.find('/').and_then(|at| line.get(at..));
    Some((path.unwrap_or_default(), rights))
}

fn kib(name: &str, line: &str) -> Option<u64> {
    let (key, value) = line.split_once(':')?;
    let value = value.trim().strip_suffix("kB")?;
    (key == name).then(|| value.trim().parse().ok())?
}

/// The load averages of the machine.
pub(crate) fn machine_load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = load.split_whitespace().take(3).collect();
    words.join(" ")
}

/// Bytes of all files of a store.
pub(crate) fn bytes_of(store_file: &Path) -> Result<u64> {
    let mut bytes = 0;
    let name = store_file.file_name().unwrap_or_default();
    let folder = store_file.parent().context("a store has a folder")?;
    for entry in std::fs::read_dir(folder).context("the data folder cannot be read")? {
        let entry = entry?;
        let found = entry.file_name();
        if found
            .to_string_lossy()
            .starts_with(&*name.to_string_lossy())
        {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| {
        format!("{path} cannot be read; the benchmark measures a process of its own on Linux")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "77 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 25 30 4 20 0 8 0 1 2 3";
        let found = ProcessStat {
            pid: 77,
            parent: 1,
            own: 175,
            ended: 34,
        };
        assert_eq!(ProcessStat::parse(stat), Some(found));
        assert_eq!(ProcessStat::parse("77 (cut"), None);
    }

    #[test]
    fn all_below_a_process_is_found_and_nothing_else() {
        let stat = |pid, parent| ProcessStat {
            pid,
            parent,
            own: 1,
            ended: 0,
        };
        let all = [
            stat(1, 0),
            stat(5, 1),
            stat(7, 5),
            stat(6, 1),
            stat(9, 7),
            stat(8, 5),
        ];
        let mut found: Vec<u32> = descendants(5, &all).iter().map(|stat| stat.pid).collect();
        found.sort_unstable();
        assert_eq!(found, [7, 8, 9]);
    }

    #[test]
    fn cpu_time_of_children_counts_while_they_run_and_once_they_have_ended() {
        use std::io::{BufRead, BufReader, Read};
        use std::process::{Command, Stdio};
        // Long enough to be seen in steps of 10 ms.
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let script = format!("sh -c '{busy}'; sh -c '{busy}; echo; read it' & wait; echo");
        let mut child = Command::new("sh")
            .args([
                "-c",
                &format!("exec 3<&0; {}", script.replace("read it'", "read it' <&3")),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        told.read_line(&mut String::new()).unwrap();
        let one_runs = tree_cpu_us(child.id()).unwrap();
        let alone = cpu_us(child.id()).unwrap();
        drop(child.stdin.take());
        told.read_line(&mut String::new()).unwrap();
        told.read_to_end(&mut Vec::new()).unwrap();
        child.wait().unwrap();
        assert!(alone <= 20_000, "the shell itself does nothing: {alone}");
        assert!(one_runs >= 40_000 + alone, "{one_runs} of which {alone}");
    }

    #[test]
    fn cpu_time_below_a_hundredth_of_a_second_counts() {
        use std::io::Read;
        use std::process::{Command, Stdio};
        let script = "(i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo; read it) & wait";
        let mut child = Command::new("sh")
            .args([
                "-c",
                &format!("exec 3<&0; {}", script.replace("read it", "read it <&3")),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = child.stdout.as_mut().unwrap();
        told.read_exact(&mut [0]).unwrap();
        let all = tree_cpu_us(child.id()).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(all > 0 && !all.is_multiple_of(TICK_US), "{all} µs");
    }

    #[test]
    fn switches_of_both_kinds_count() {
        let status = "Name:\ta\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!(context_switches(status), 157);
    }

    #[test]
    fn pages_of_executable_files_are_the_programs_unless_written_to() {
        let maps = "\
5500-5600 r-xp 00000000 fd:00 9 /opt/willcall
Rss:                 100 kB
Anonymous:             0 kB
5600-5700 rw-p 00000000 fd:00 9 /opt/willcall
Rss:                  40 kB
Anonymous:            30 kB
5700-5800 rw-s 00000000 fd:00 8 /data/willcall.db-shm
Rss:                  32 kB
Anonymous:             0 kB
5800-5900 rw-p 00000000 00:00 0 
Rss:                 500 kB
Anonymous:           500 kB
5900-6000 r-xp 00000000 00:00 0 [vdso]
Rss:                   4 kB
Anonymous:             0 kB
";
        assert_eq!(program_kib(maps), 110);
        let memory = Memory {
            resident: 676,
            program: 110,
        };
        assert_eq!(memory.own(), 566);
    }

    #[test]
    fn this_very_process_can_be_measured() {
        let pid = std::process::id();
        let memory = memory(pid).unwrap();
        assert!(memory.program > 0 && memory.own() > 0, "{memory:?}");
        assert!(cpu_us(pid).is_ok());
        let effort = effort(pid).unwrap();
        assert!(effort.switches > 0 && effort.written > 0, "{effort:?}");
    }
}
