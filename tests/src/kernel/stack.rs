//! How much of the kernel's stack a program and the functions that it calls take.
//!
//! A program has 512 bytes, together with all functions that are under way. Linux 6.1 counts each of them in steps of 32 bytes, at least
//! one; newer kernels count less, so what one of them loads an older one may refuse.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use object::{File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SymbolKind};

/// What the kernel allows.
pub const LIMIT: u32 = 512;
/// The step that old kernels count in.
const STEP: u32 = 32;
/// Length of an instruction.
const LEN: usize = 8;

/// A function: its section and where it begins there.
type Place = (usize, u64);

/// A function of the object.
#[derive(Debug, Default)]
struct Function {
    name: String,
    /// The lowest byte of the stack that it names.
    own: u32,
    calls: Vec<Place>,
}

/// The deepest chain of functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Bytes, as old kernels count.
    pub bytes: u32,
    /// From the program on.
    pub names: Vec<String>,
}

/// The chain of calls from `program` that takes the most.
///
/// # Errors
/// When `object` is not an object of kernel programs, or has no such program.
pub fn deepest(object: &[u8], program: &str) -> Result<Chain> {
    let functions = functions(object)?;
    let (&start, _) =
        functions.iter().find(|(_, function)| function.name == program).with_context(|| format!("no {program}"))?;
    below(&functions, start, 0)
}

fn below(functions: &BTreeMap<Place, Function>, place: Place, depth: usize) -> Result<Chain> {
    ensure!(depth < 8, "more than eight functions are under way at once");
    let function = functions.get(&place).with_context(|| format!("no function at {place:x?}"))?;
    let mut deepest = Chain::default();
    for call in &function.calls {
        let found = below(functions, *call, depth + 1)?;
        if found.bytes >= deepest.bytes {
            deepest = found;
        }
    }
    deepest.bytes += function.own.max(1).next_multiple_of(STEP);
    deepest.names.insert(0, format!("{} ({})", function.name, function.own));
    Ok(deepest)
}

fn functions(object: &[u8]) -> Result<BTreeMap<Place, Function>> {
    let file = File::parse(object).context("not an ELF object")?;
    let mut functions = BTreeMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        let Some(index) = symbol.section_index() else { continue };
        let section = file.section_by_index(index)?;
        let (start, end) = (symbol.address() as usize, (symbol.address() + symbol.size()) as usize);
        let code =
            section.data()?.get(start..end).with_context(|| format!("{:?} lies outside of its section", symbol.name()))?;
        let relocations: BTreeMap<u64, RelocationTarget> =
            section.relocations().map(|(offset, relocation)| (offset, relocation.target())).collect();
        let mut function = Function { name: symbol.name()?.to_owned(), own: stack_of(code), calls: Vec::new() };
        for (number, instruction) in code.chunks_exact(LEN).enumerate() {
            // A call (0x85) whose source register says that it is of a function, not of a helper.
            if instruction[0] != 0x85 || instruction[1] >> 4 != 1 {
                continue;
            }
            let at = (start + number * LEN) as u64;
            let distance = i64::from(immediate(instruction)) + 1;
            let (section, from) = match relocations.get(&at) {
                Some(RelocationTarget::Symbol(target)) => {
                    let target = file.symbol_by_index(*target)?;
                    (target.section_index().context("a call of something that is not here")?.0, target.address())
                }
                _ => (index.0, at),
            };
            function.calls.push((section, from.wrapping_add_signed(distance * LEN as i64)));
        }
        functions.insert((index.0, symbol.address()), function);
    }
    Ok(functions)
}

fn immediate(instruction: &[u8]) -> i32 {
    i32::from_le_bytes([instruction[4], instruction[5], instruction[6], instruction[7]])
}

/// The lowest byte below the frame pointer, register 10, that `code` names: in an access, or in an address that it makes.
fn stack_of(code: &[u8]) -> u32 {
    const FRAME: u8 = 10;
    let mut lowest = 0;
    let mut copied_to = None;
    for instruction in code.chunks_exact(LEN) {
        let (class, destination, source) = (instruction[0] & 7, instruction[1] & 0xf, instruction[1] >> 4);
        let offset = i16::from_le_bytes([instruction[2], instruction[3]]);
        // 1: load; 2 and 3: store.
        let base = match class {
            1 => Some(source),
            2 | 3 => Some(destination),
            _ => None,
        };
        if base == Some(FRAME) {
            lowest = lowest.min(i32::from(offset));
        }
        // 0xbf: copy of a register; 0x07: addition of a number, here to the copy just made.
        if instruction[0] == 0x07 && copied_to == Some(destination) {
            lowest = lowest.min(immediate(instruction));
        }
        copied_to = (instruction[0] == 0xbf && source == FRAME).then_some(destination);
    }
    lowest.unsigned_abs()
}
