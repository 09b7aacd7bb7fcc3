//! The kernel's IPVS and rlvs on the same path, fed with the same frames: XDP frames that the cable's far end transmits, as a network card's
//! driver has them. rlvs takes them as they are, and for IPVS the kernel makes an skb of each, as with a card. For a guest of QEMU's with
//! `-icount shift=0`, whose clock takes each instruction for a nanosecond.
//!
//! ```text
//!   far end: c0 (generator) ---> d0 (director) d1 ---> r0 (drop) :far end
//! ```

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use aya::maps::{MapData, PerCpuArray, PerCpuValues};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use rlvs_testbed::{Director, Namespace, rlvs};

use crate::lab::{OBJECT, program, request, run_live, take};
use crate::network::{DR, Method, NAT, TUN};
use crate::plan::{Plan, SYN, WORDS};
use crate::sink::Sink;

/// log2 of the flows: as many as one address has ports in the shim, since a kernel looks at the IP header's checksum.
const FLOWS: u32 = 4;
/// The number of the first one, whose client is [`CLIENT`].
const FIRST: u32 = 1 << FLOWS;
const CLIENT: [u8; 4] = [10, 0, 0, 1];
const FRAMES: u32 = 20_000;

/// Who is between generator and drop.
#[derive(Clone, Copy, PartialEq)]
enum Between {
    /// Nobody: frames are dropped by XDP where they enter the director's host.
    NobodyXdp,
    /// Nobody: an skb is made of each, and dropped by tc there.
    NobodySkb,
    Ipvs(Method),
    Rlvs(Method),
}

/// Measures all of them, a line of JSON for each.
pub fn run() -> Result<()> {
    let mut all = vec![Between::NobodyXdp, Between::NobodySkb];
    for method in [NAT, DR, TUN] {
        all.extend([Between::Ipvs(method), Between::Rlvs(method)]);
    }
    for between in all {
        let (director, path) = between.names();
        let (took, arrived) = measure(between).with_context(|| format!("{director}, {path}"))?;
        let each = took.as_nanos();
        println!(
            "{{\"director\":\"{director}\",\"path\":\"{path}\",\"instructions\":{each},\"sent\":{FRAMES},\"arrived\":{arrived}}}"
        );
    }
    Ok(())
}

impl Between {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Between::NobodyXdp => ("none", "XDP drop"),
            Between::NobodySkb => ("none", "skb drop"),
            Between::Ipvs(method) => ("IPVS", method.name),
            Between::Rlvs(method) => ("rlvs", method.name),
        }
    }

    /// The forwarding method; any, where nobody forwards.
    fn method(self) -> Method {
        match self {
            Between::Ipvs(method) | Between::Rlvs(method) => method,
            Between::NobodyXdp | Between::NobodySkb => DR,
        }
    }
}

/// Time for a frame, and how many of them came to the drop, on a path made anew.
fn measure(between: Between) -> Result<(Duration, u64)> {
    let method = between.method();
    let [host, far] = cabled(method)?;
    let mut generator = Generator::on(&far)?;
    let (dropping, interface) = match between {
        Between::NobodyXdp | Between::NobodySkb => (&host, "wan"),
        Between::Ipvs(_) | Between::Rlvs(_) => (&far, "servers"),
    };
    let sink = match between {
        Between::NobodyXdp | Between::Rlvs(_) => Some(Sink::open(dropping, interface)?),
        Between::NobodySkb | Between::Ipvs(_) => {
            drop_skbs(dropping, interface)?;
            // A veth takes XDP frames without a program of its own if it has receive offload; skbs are then made as a driver does.
            host.output(&["ethtool", "-K", "wan", "gro", "on"])?;
            None
        }
    };
    let arrived = || match &sink {
        Some(sink) => sink.taken(),
        None => received(dropping, interface),
    };
    let _running = match between {
        Between::Rlvs(_) => {
            let director = Director::start(&host)?;
            for interface in ["wan", "lan"] {
                let native = director.log().contains(&format!("{interface} (native XDP)"));
                ensure!(native, "no native XDP on {interface}: {}", director.log());
            }
            Some(director)
        }
        _ => None,
    };
    for command in method.rules().lines() {
        match between {
            Between::Ipvs(_) => host.output(&format!("ipvsadm {command}").split(' ').collect::<Vec<_>>())?,
            Between::Rlvs(_) => rlvs(&host, &format!("ipvsadm {command}"))?,
            Between::NobodyXdp | Between::NobodySkb => String::new(),
        };
    }
    let established = Plan { base: FIRST, source: (CLIENT.into(), 0), ..request(method, FLOWS) };
    generator = generator.send(&far, &Plan { tcp_flags: SYN, ..established }, 1 << FLOWS)?.0;
    // The first packets of a kind are not like the others.
    generator = generator.send(&far, &established, FRAMES / 10)?.0;
    let before = arrived()?;
    let (_, took) = generator.send(&far, &established, FRAMES)?;
    Ok((took, arrived()? - before))
}

/// The director's host and the far end of its two cables. Neighbours are fixed, so nobody need answer.
fn cabled(method: Method) -> Result<[Namespace; 2]> {
    let (host, far) = (Namespace::new("director")?, Namespace::new("far")?);
    for side in [&host, &far] {
        side.sysctl("net.ipv6.conf.all.disable_ipv6=1")?;
        side.sysctl("net.ipv6.conf.default.disable_ipv6=1")?;
    }
    let (end, vip, server) = (far.path(), method.vip(), method.real_server());
    // The first address is that of the frames' receiver.
    host.ip(&format!(
        "link add wan address 02:00:00:00:00:09 type veth peer name clients netns {end}
         link add lan type veth peer name servers netns {end}
         link set wan up
         link set lan up
         addr add 10.1.0.254/24 dev wan
         addr add 172.16.0.254/24 dev lan
         addr add {vip}/32 dev lo
         neigh add 10.1.0.8 lladdr 02:00:00:00:00:08 dev wan nud permanent
         neigh add {server} lladdr 02:00:00:00:00:01 dev lan nud permanent
         route add 10.0.0.0/16 via 10.1.0.8"
    ))?;
    host.sysctl("net.ipv4.ip_forward=1")?;
    far.ip("link set clients up
         link set servers up")?;
    // So that the director's ends may send XDP frames.
    far.output(&["ethtool", "-K", "clients", "gro", "on"])?;
    Ok([host, far])
}

/// Has tc drop what comes in by the interface.
fn drop_skbs(host: &Namespace, interface: &str) -> Result<()> {
    for command in ["qdisc add dev @ clsact", "filter add dev @ ingress matchall action drop"] {
        let words = format!("tc {}", command.replace('@', interface));
        host.output(&words.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Frames that came in by the interface.
fn received(host: &Namespace, interface: &str) -> Result<u64> {
    let path = format!("/sys/class/net/{interface}/statistics/rx_packets");
    let text = host.output(&["cat", &path])?;
    text.trim().parse().with_context(|| format!("{path}: {text:?} is no number"))
}

/// The shim, whose frames the far end transmits towards the director.
struct Generator {
    programs: Ebpf,
    plan: PerCpuArray<MapData, [u64; WORDS]>,
    /// Index of the interface that they leave by.
    interface: u32,
}

impl Generator {
    fn on(far: &Namespace) -> Result<Generator> {
        far.run(|| {
            let mut programs =
                EbpfLoader::new().load(OBJECT).context("cannot load the generator's object")?;
            program(&mut programs, "shim")?.load().context("cannot load the generator")?;
            let plan = PerCpuArray::try_from(take(&mut programs, "PLAN")?)?;
            let index = std::fs::read_to_string("/sys/class/net/clients/ifindex")?;
            Ok(Generator { programs, plan, interface: index.trim().parse()? })
        })
    }

    /// Sends so many frames, on the far end's host; the time for each, by the kernel's clock. One CPU does all that becomes of them meanwhile.
    fn send(mut self, far: &Namespace, plan: &Plan, frames: u32) -> Result<(Generator, Duration)> {
        let plan = *plan;
        far.run(move || {
            let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
            self.plan.set(0, PerCpuValues::try_from(vec![plan.words(); cpus])?, 0)?;
            let shim: &Xdp =
                self.programs.program("shim").context("the object has no program shim")?.try_into()?;
            let took = run_live(shim, self.interface, &plan, frames)?;
            Ok((self, took))
        })
    }
}
