//! Sets of addresses that one virtual server serves.

use std::net::IpAddr;

use super::Config;
use super::change::{Change, Touched};
use super::record::{Record, record};
use crate::command::schema::{self, Verb};
use crate::command::value::Field;
use crate::command::words::AddressType;
use crate::command::{Arg, Command, CommandError};

/// `add ipset`, with its `bind ipset`.
#[derive(Clone, Debug, PartialEq)]
pub struct IpSet {
    /// Its name.
    pub name: String,
    /// Its addresses, in order: VIPs of the pair.
    pub members: Vec<IpAddr>,
}

record!(IpSet: schema::ipset::IPSET, { "name" => name } own { members });

impl IpSet {
    pub(super) fn commands(&self) -> impl Iterator<Item = Command> + use<> {
        let entity = &schema::ipset::BINDING;
        let members: Vec<String> = self.members.iter().map(ToString::to_string).collect();
        let args = [("name", self.name.to_value()), ("IPAddress", members.to_value())];
        let arg = |(name, value)| entity.attribute(name).map(|attribute| Arg { attribute, value });
        let bind = Command { verb: Verb::Bind, entity, args: args.into_iter().filter_map(arg).collect() };
        self.command(Verb::Add).into_iter().chain((!members.is_empty()).then_some(bind))
    }
}

impl Config {
    pub(super) fn apply_ipset(&mut self, command: &Command) -> Result<Change, CommandError> {
        let name: String = command.read("name");
        match (command.verb, self.ipsets.get(&name)) {
            (Verb::Add, None) => drop(self.ipsets.insert(name.clone(), IpSet::from_command(command))),
            (Verb::Add, Some(_)) => return Err(CommandError::exists("name", name, "bind ipset adds addresses to it")),
            (_, Some(_)) => {
                if let Some(user) = self.users_of_ipset(&name).next() {
                    let user = &user.name;
                    return Err(CommandError::refused(format!(
                        "the set {name} is served by {user}; unset lb vserver {user} -ipset first"
                    )));
                }
                self.ipsets.remove(&name);
            }
            (_, None) => return Err(no_such_set("name", &name)),
        }
        Ok(Change::of(Touched::IpSet(name)))
    }

    pub(super) fn apply_ipset_binding(&mut self, command: &Command) -> Result<Change, CommandError> {
        let name: String = command.read("name");
        let members: Vec<String> = command.read("IPAddress");
        let members = members.iter().filter_map(|text| text.parse().ok());
        let mut change = Change::of(Touched::IpSet(name.clone()));
        for member in members {
            change.add(Touched::Address(member));
            if command.verb == Verb::Bind {
                self.bind_address(&name, member)?;
            } else {
                self.unbind_address(&name, member)?;
            }
        }
        self.allot_addresses(&name)?;
        Ok(change)
    }

    fn bind_address(&mut self, name: &str, member: IpAddr) -> Result<(), CommandError> {
        let known = self.addresses.get_mut(&member);
        match known.map(|address| (address.kind, &mut address.implicit)) {
            None => {
                let hint = "add ns ip makes it, with -type VIP";
                return Err(CommandError::missing("IPAddress", member, hint));
            }
            Some((AddressType::Snip, _)) => {
                return Err(CommandError::refused(format!("{member} is a SNIP: clients speak to VIPs")));
            }
            // It is one of its own from now on, whatever virtual server brought it: the set names it.
            Some((AddressType::Vip, implicit)) => *implicit = false,
        }
        let set = self.ipsets.get_mut(name).ok_or_else(|| no_such_set("name", name))?;
        match set.members.binary_search(&member) {
            Ok(_) => Err(CommandError::exists("IPAddress", member, format!("it is in {name}"))),
            Err(at) => {
                set.members.insert(at, member);
                Ok(())
            }
        }
    }

    fn unbind_address(&mut self, name: &str, member: IpAddr) -> Result<(), CommandError> {
        let set = self.ipsets.get_mut(name).ok_or_else(|| no_such_set("name", name))?;
        match set.members.binary_search(&member) {
            Ok(at) => drop(set.members.remove(at)),
            Err(_) => return Err(CommandError::missing("IPAddress", member, format!("it is not in {name}"))),
        }
        Ok(())
    }

    /// Gives every virtual server that serves this set a place in the data plane for each of its addresses.
    fn allot_addresses(&mut self, name: &str) -> Result<(), CommandError> {
        let users: Vec<String> = self.users_of_ipset(name).map(|user| user.name.clone()).collect();
        for user in users {
            if let Some(vserver) = self.vservers.get(&user).cloned() {
                let vserver = self.with_addresses(vserver)?;
                self.vservers.insert(user, vserver);
            }
        }
        Ok(())
    }

    fn users_of_ipset<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a super::Vserver> {
        self.vservers.values().filter(move |vserver| vserver.ipset.as_deref() == Some(name))
    }

    /// The set that `address` is in, if there is one.
    pub(super) fn ipset_with(&self, address: IpAddr) -> Option<&IpSet> {
        self.ipsets.values().find(|set| set.members.binary_search(&address).is_ok())
    }
}

pub(super) fn no_such_set(argument: &str, name: &str) -> CommandError {
    CommandError::missing(argument, name, "show ipset lists the sets of addresses")
}
