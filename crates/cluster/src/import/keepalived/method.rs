//! `lvs_method`: how packets get to a server.

use super::context::Context;
use super::tree::Statement;
use crate::import::draft::Block;
use crate::import::value::Table;

/// A forwarding method, with its tunnel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Method {
    forward: &'static str,
    tunnel: Option<Table>,
}

impl Default for Method {
    fn default() -> Self {
        Self { forward: "nat", tunnel: None }
    }
}

impl Method {
    /// `NAT`, `DR` or `TUN [type ipip|gue port N|gre] [nocsum|csum|remcsum]`; also in its old spelling, `lvs_kind`.
    pub(super) fn of(context: &mut Context, statement: &Statement) -> Option<Self> {
        let arguments = statement.arguments();
        let forward = match arguments.first() {
            Some(&"NAT") => "nat",
            Some(&"DR") => "direct",
            Some(&"TUN") => "tunnel",
            _ => {
                context.wrong(statement, "NAT, DR or TUN is expected");
                return None;
            }
        };
        let (mut kind, mut port, mut checksum) = ("ipip", None, None);
        let mut words = arguments.iter().skip(1);
        while let Some(word) = words.next() {
            match *word {
                "type" => kind = words.next().copied().unwrap_or_default(),
                "port" => port = words.next().and_then(|port| port.parse::<u16>().ok()),
                "nocsum" => checksum = Some("no"),
                "csum" => checksum = Some("yes"),
                "remcsum" => checksum = Some("remote"),
                word => context.wrong(statement, format!("the word {word} is unknown")),
            }
        }
        let tunnel = Table::of_type(kind).with_some("port", port).with_some("checksum", checksum);
        let plain = forward != "tunnel" || (kind == "ipip" && checksum.is_none());
        Some(Self { forward, tunnel: (!plain).then_some(tunnel) })
    }

    pub(super) fn is_nat(&self) -> bool {
        self.forward == "nat"
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.forward == "tunnel"
    }

    pub(super) fn write(&self, block: &mut Block) {
        block.set("forward", self.forward);
        block.set_some("tunnel", self.tunnel.clone());
    }

    pub(super) fn add_to(&self, table: Table) -> Table {
        table.with("forward", self.forward).with_some("tunnel", self.tunnel.clone())
    }
}
