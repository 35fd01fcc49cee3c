//! Reads from `/proc` what a process costs: CPU time, context switches, bytes written, memory.
//! Nothing is estimated.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

/// Linux reports CPU time in hundredths of a second, whatever the kernel's own tick.
const TICK_US: u64 = 10_000;

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

/// User and system time of all threads since the process started, in microseconds.
pub(crate) fn cpu_us(pid: u32) -> Result<u64> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    cpu_ticks(&stat)
        .map(|ticks| ticks.saturating_mul(TICK_US))
        .with_context(|| format!("/proc/{pid}/stat has an unknown format"))
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The program's name may contain spaces and brackets; nothing after its last bracket does.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()?.saturating_add(next()?))
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
        let stat = "77 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 8 0 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(175));
        assert_eq!(cpu_ticks("77 (cut"), None);
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
