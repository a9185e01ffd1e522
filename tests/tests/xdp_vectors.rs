//! t
use ha_tests::kernel::{Kernel, Sizes};
#[test]
fn loads() {
    let t = std::time::Instant::now();
    match Kernel::load(Sizes { flows: 16, exceptions: 4, embryonic: 16 }) {
        Ok(mut k) => {
            println!("load {:?}", t.elapsed());
            println!("{:?}", k.clocks().unwrap());
            for (n, p) in k.ebpf().programs() {
                let i = p.info().unwrap();
                println!(
                    "{n} xlated {:?} jited {:?} verified {:?}",
                    i.size_translated(),
                    i.size_jitted(),
                    i.verified_instruction_count()
                );
            }
        }
        Err(e) => panic!("{:?}", e),
    }
}
