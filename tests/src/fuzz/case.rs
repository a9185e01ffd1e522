//! A world and its packets as text: whole in itself, whatever the generators make of its seed later.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use ha_common::abi::ABI_VERSION;
use ha_common::tables::HostTables;

use super::both::{Both, Packet, hex};
use super::records::{Entry, TABLES, empty};

/// Tables, and the packets that meet them in this order.
///
/// As text, one thing a line: `abi VERSION`, `map NAME KEY VALUE` (records as they lie in memory), `ingress INTERFACE FRAME`, `egress
/// INTERFACE FRAME`; what begins with `#` is for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// Entries of tables, each with its row in [`TABLES`]; what is not here is empty or zero.
    pub entries: Vec<(usize, Entry)>,
    /// The packets.
    pub packets: Vec<Packet>,
}

impl Case {
    /// `packets` that meet `tables`.
    pub fn new(tables: &HostTables, packets: Vec<Packet>) -> Self {
        let rows = TABLES.iter().enumerate();
        let entries = rows.flat_map(|(row, table)| (table.entries)(tables).into_iter().map(move |entry| (row, entry)));
        // What is zero need not be said, but for hashes.
        let said = |(row, (_, value)): &(usize, Entry)| {
            TABLES[*row].kind == super::records::Kind::Hash || value.iter().any(|byte| *byte != 0)
        };
        let mut entries: Vec<_> = entries.filter(said).collect();
        entries.sort();
        Case { entries, packets }
    }

    /// Its tables.
    pub fn tables(&self) -> HostTables {
        let mut tables = empty();
        for (row, (key, value)) in &self.entries {
            (TABLES[*row].put)(&mut tables, key, value);
        }
        tables
    }

    /// Runs it on both sides: what differs, and at which packet; after the last one, if it is what is left behind.
    pub fn run(&self, both: &mut Both) -> Result<Option<(usize, String)>> {
        both.begin(self.tables())?;
        for (number, packet) in self.packets.iter().enumerate() {
            if let Err(difference) = both.step(packet)? {
                both.end()?.ok();
                return Ok(Some((number, difference)));
            }
        }
        Ok(both.end()?.err().map(|difference| (self.packets.len(), difference)))
    }

    /// Its text, with `about` for people.
    pub fn text(&self, about: &str) -> String {
        let mut text = String::new();
        for line in about.lines() {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "abi {ABI_VERSION}");
        for (row, (key, value)) in &self.entries {
            let _ = writeln!(text, "map {} {} {}", TABLES[*row].name, hex(key), hex(value));
        }
        for Packet { ifindex, sent, frame } in &self.packets {
            let _ = writeln!(text, "{} {ifindex} {}", if *sent { "egress" } else { "ingress" }, hex(frame));
        }
        text
    }

    /// Reads what [`Case::text`] wrote.
    ///
    /// # Errors
    /// With the line that cannot be read, or is of other records than today's.
    pub fn parse(text: &str) -> Result<Self> {
        let mut case = Case::default();
        for (number, line) in text.lines().enumerate() {
            case.read(line).with_context(|| format!("line {}", number + 1))?;
        }
        Ok(case)
    }

    fn read(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["abi", version] => ensure!(
                version.parse() == Ok(ABI_VERSION),
                "records of ABI {version}, today's is {ABI_VERSION}: find the case again by the seed that it names, or take it out"
            ),
            ["map", name, key, value] => {
                let row = TABLES.iter().position(|table| table.name == name).with_context(|| format!("no table {name}"))?;
                let entry = (unhex(key)?, unhex(value)?);
                let lens = (TABLES[row].key_len, TABLES[row].value_len);
                ensure!((entry.0.len(), entry.1.len()) == lens, "a record of {name} has {lens:?} bytes");
                self.entries.push((row, entry));
            }
            [place @ ("ingress" | "egress"), ifindex, frame] => {
                let ifindex = ifindex.parse().context("an interface index")?;
                self.packets.push(Packet { ifindex, sent: place == "egress", frame: unhex(frame)? });
            }
            _ => bail!("neither abi, map, ingress nor egress: {line}"),
        }
        Ok(())
    }

    /// Reads the case in the file at `path`.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Case::parse(&text).with_context(|| path.display().to_string())
    }
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::packets::Packets;
    use crate::fuzz::world;

    #[test]
    fn a_case_survives_its_text() {
        let tables = world::random(7);
        let mut packets = Packets::new(7, &tables);
        let case = Case::new(&tables, (0..20).map(|_| packets.draw()).collect());
        assert_eq!(Case::parse(&case.text("about\nit")).unwrap(), case);
        assert_eq!(Case::new(&case.tables(), case.packets.clone()), case);
    }

    #[test]
    fn a_case_of_other_records_is_refused_with_what_to_do() {
        let error = Case::parse("abi 1\n").unwrap_err();
        assert!(format!("{error:#}").contains("find the case again"), "{error:#}");
    }
}
