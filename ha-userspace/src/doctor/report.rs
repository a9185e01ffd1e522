//! What was found, for people and for programs.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// A node works, but slower, blinder or later than it could.
    Warn,
    /// A node does not work.
    Fail,
}

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was examined: a part of the host, or an interface by name.
    pub subject: String,
    /// What was found.
    pub what: String,
    /// A command, or words where no command does it; none for [`Level::Ok`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Nothing to do about `subject`.
    pub fn ok(subject: &str, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject: subject.into(), what: what.into(), remedy: None }
    }

    /// A node works, but not as well as it could.
    pub fn warn(subject: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warn, subject: subject.into(), what: what.into(), remedy: Some(remedy.into()) }
    }

    /// A node does not work.
    pub fn fail(subject: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Fail, ..Self::warn(subject, what, remedy) }
    }
}

/// All findings, in the order in which they were made. `Display` is the text for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst level among the findings.
    pub verdict: Level,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Sums up.
    #[must_use]
    pub fn new(findings: Vec<Finding>) -> Self {
        let verdict = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        Self { verdict, findings }
    }

    /// What the process ends with: 1 if a node would not work, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(self.verdict == Level::Fail)
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and unit variants are representable")
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { level, subject, what, remedy } in &self.findings {
            let level = match level {
                Level::Ok => "ok  ",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            writeln!(f, "{level}  {subject}: {what}")?;
            if let Some(remedy) = remedy {
                writeln!(f, "      remedy: {remedy}")?;
            }
        }
        let (ok, warn, fail) = (self.count(Level::Ok), self.count(Level::Warn), self.count(Level::Fail));
        writeln!(f, "{ok} ok, {warn} to improve, {fail} to mend")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::new(vec![
            Finding::ok("kernel", "Linux 6.12"),
            Finding::fail("bpffs", "not mounted", "mount -t bpf bpf /sys/fs/bpf"),
            Finding::warn("eth1", "LRO is on", "ethtool -K eth1 lro off"),
        ])
    }

    #[test]
    fn the_worst_finding_is_the_verdict() {
        assert_eq!((report().verdict, report().exit_code()), (Level::Fail, 1));
        let fair = Report::new(vec![Finding::warn("eth1", "LRO is on", "ethtool -K eth1 lro off")]);
        assert_eq!((fair.verdict, fair.exit_code()), (Level::Warn, 0));
        assert_eq!(Report::new(Vec::new()).verdict, Level::Ok);
    }

    #[test]
    fn text_names_subject_fault_and_remedy() {
        assert_eq!(
            report().to_string(),
            "ok    kernel: Linux 6.12\n\
             FAIL  bpffs: not mounted\n      remedy: mount -t bpf bpf /sys/fs/bpf\n\
             warn  eth1: LRO is on\n      remedy: ethtool -K eth1 lro off\n\
             1 ok, 1 to improve, 1 to mend\n"
        );
    }

    #[test]
    fn json_is_one_object_without_empty_remedies() {
        let report = Report::new(vec![Finding::ok("kernel", "Linux 6.12")]);
        assert_eq!(report.to_json(), r#"{"verdict":"ok","findings":[{"level":"ok","subject":"kernel","what":"Linux 6.12"}]}"#);
    }
}
