//! Which keys lie in `DIRECTORY`, and where.

use std::collections::{BTreeMap, HashMap};

use ha_common::abi::{Bucket, DirectoryKey, FilterBit, FilterKind, Owner, SLOTS, ServiceKey, Slot};

use super::desired::Desired;

/// A slot: its bucket, and which of that bucket's it is.
pub type Place = (u32, usize);

/// The slots that are not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    slots: HashMap<Place, Slot>,
    places: HashMap<DirectoryKey, Place>,
}

/// What shall be found, if there is room: the bucket and the value of each key.
pub type Wanted = BTreeMap<DirectoryKey, (u32, [u32; 2])>;

/// Every key of `desired`, whose owners are these.
#[must_use]
pub fn wanted(desired: &Desired, owners: &HashMap<ServiceKey, Owner>) -> Wanted {
    let vservers = desired.vserver_keys().into_iter().map(|(key, index)| {
        (DirectoryKey::service(FilterKind::Vserver, &key), (FilterBit::service(&key).bucket(), [index, 0]))
    });
    let owners = owners.iter().map(|(key, owner)| {
        let value = [owner.backend, owner.vserver];
        (DirectoryKey::service(FilterKind::Owner, key), (FilterBit::service(key).bucket(), value))
    });
    let addresses = desired
        .addresses
        .iter()
        .map(|(key, address)| (DirectoryKey::address(key), (FilterBit::address(key).bucket(), [address.flags, address.group])));
    vservers.chain(owners).chain(addresses).collect()
}

impl Directory {
    /// Of buckets as the kernel holds them.
    #[must_use]
    pub fn of_buckets(buckets: impl Iterator<Item = Bucket>) -> Self {
        let mut directory = Directory::default();
        for (number, bucket) in buckets.enumerate() {
            for (slot, content) in bucket.slots.into_iter().enumerate() {
                directory.set((number as u32, slot), content);
            }
        }
        directory
    }

    /// Follows a write.
    pub fn set(&mut self, place: Place, slot: Slot) {
        if let Some(before) = self.slots.remove(&place) {
            self.places.remove(&key_of(&before));
        }
        if slot.mark != 0 {
            self.places.insert(key_of(&slot), place);
            self.slots.insert(place, slot);
        }
    }

    /// The writes after which every wanted key that has a place, or finds one that is empty and `free`, is found with its value.
    #[must_use]
    pub fn with(&self, wanted: &Wanted, free: impl Fn(&Place) -> bool) -> Vec<(Place, Slot)> {
        let mut writes: BTreeMap<Place, Slot> = BTreeMap::new();
        for (key, &(bucket, value)) in wanted {
            let slot = Slot { addr: key.addr, value, domain: key.domain, mark: key.mark };
            let place = match self.places.get(key) {
                Some(place) if self.slots[place] == slot => continue,
                Some(&place) => Some(place),
                None => (0..SLOTS)
                    .map(|slot| (bucket, slot))
                    .find(|place| !self.slots.contains_key(place) && !writes.contains_key(place) && free(place)),
            };
            writes.extend(place.map(|place| (place, slot)));
        }
        writes.into_iter().collect()
    }

    /// The slots of keys that are not wanted.
    #[must_use]
    pub fn surplus(&self, wanted: &Wanted) -> Vec<Place> {
        self.places.iter().filter(|(key, _)| !wanted.contains_key(key)).map(|(_, &place)| place).collect()
    }
}

fn key_of(slot: &Slot) -> DirectoryKey {
    DirectoryKey { addr: slot.addr, domain: slot.domain, mark: slot.mark }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ha_common::wire::Be16;

    use super::*;

    /// Wants `keys` of one bucket, with `value` each.
    fn wants(keys: &[u16], value: u32) -> Wanted {
        let addr = Ipv4Addr::new(10, 1, 0, 100).into();
        let key = |&port| ServiceKey { addr, domain: 0, port: Be16::new(port), protocol: 6 };
        keys.iter().map(|port| (DirectoryKey::service(FilterKind::Vserver, &key(port)), (7, [value, 0]))).collect()
    }

    fn carry_out(directory: &mut Directory, writes: Vec<(Place, Slot)>) {
        writes.into_iter().for_each(|(place, slot)| directory.set(place, slot));
    }

    fn found(directory: &Directory, wanted: &Wanted) -> usize {
        let slots = std::array::from_fn(|slot| directory.slots.get(&(7, slot)).copied().unwrap_or_default());
        let bucket = Bucket { slots };
        wanted.iter().filter(|(key, (_, value))| bucket.find(key).is_some_and(|slot| slot.value == *value)).count()
    }

    #[test]
    fn a_bucket_holds_what_it_has_room_for_and_every_value_follows() {
        let mut directory = Directory::default();
        let writes = directory.with(&wants(&[1, 2, 3], 10), |_| true);
        carry_out(&mut directory, writes);
        assert_eq!(found(&directory, &wants(&[1, 2, 3], 10)), SLOTS);
        assert_eq!(directory.with(&wants(&[1, 2, 3], 10), |_| true), []);
        let writes = directory.with(&wants(&[1, 2, 3], 11), |_| true);
        carry_out(&mut directory, writes);
        assert_eq!((found(&directory, &wants(&[1, 2, 3], 11)), directory.slots.len()), (SLOTS, SLOTS));
    }

    #[test]
    fn a_slot_that_was_emptied_is_not_filled_before_it_is_free() {
        let mut directory = Directory::default();
        let writes = directory.with(&wants(&[1, 2], 10), |_| true);
        carry_out(&mut directory, writes);
        let surplus = directory.surplus(&wants(&[2], 10));
        assert_eq!(surplus.len(), 1);
        directory.set(surplus[0], Slot::default());
        assert_eq!(directory.with(&wants(&[2, 3], 10), |place| *place != surplus[0]), []);
        let writes = directory.with(&wants(&[2, 3], 10), |_| true);
        carry_out(&mut directory, writes);
        assert_eq!(found(&directory, &wants(&[2, 3], 10)), 2);
    }

    #[test]
    fn the_kernels_buckets_say_the_same() {
        let mut directory = Directory::default();
        let writes = directory.with(&wants(&[1, 2], 10), |_| true);
        carry_out(&mut directory, writes);
        let bucket = |number| {
            let slots = std::array::from_fn(|slot| directory.slots.get(&(number, slot)).copied().unwrap_or_default());
            Bucket { slots }
        };
        assert_eq!(Directory::of_buckets((0..16).map(bucket)), directory);
    }
}
