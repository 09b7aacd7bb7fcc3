//! The table as commands.

use rlvs_ipvs::{
    Destination, Family, ForwardingMethod, Protocol, Service, ServiceFlags, ServiceId, TunnelFlags,
    TunnelType,
};

use super::address::Namer;
use super::{listing, scheduler_flags};

/// The line that adds a service.
pub fn service(service: &Service, namer: &mut Namer) -> String {
    let mut line = format!("-A {} -s {}", which(&service.id, namer), service.scheduler);
    let flags = service.flags.flags;
    if flags.contains(ServiceFlags::PERSISTENT) {
        line += &format!(" -p {}", service.timeout);
        if let Some(mask) = listing::mask(service) {
            line += &format!(" -M {mask}");
        }
    }
    if let Some(engine) = &service.persistence_engine {
        line += &format!(" --pe {engine}");
    }
    if flags.contains(ServiceFlags::ONE_PACKET) {
        line += " -o";
    }
    if let Some(names) = scheduler_flags::written(flags, &service.scheduler) {
        line += &format!(" -b {names}");
    }
    line + "\n"
}

/// The line that adds a destination.
pub fn destination(service: &ServiceId, d: &Destination, namer: &mut Namer) -> String {
    let server = namer.endpoint(d.id.address, d.id.port, listing::protocol(service));
    let method = match d.method {
        ForwardingMethod::Masquerade => "-m",
        ForwardingMethod::Tunnel => "-i",
        _ => "-g",
    };
    let line = format!("-a {} -r {server} {method} -w {}", which(service, namer), d.weight);
    line + &tunnel(d) + "\n"
}

fn which(id: &ServiceId, namer: &mut Namer) -> String {
    match id {
        // Unsigned, though listings show large marks as negative numbers: it must be possible to restore.
        ServiceId::Mark { family: Family::Inet, mark } => format!("-f {mark}"),
        ServiceId::Mark { family: Family::Inet6, mark } => format!("-f {mark} -6"),
        ServiceId::Address { protocol, address, port } => {
            let option = match *protocol {
                Protocol::TCP => "-t",
                Protocol::UDP => "-u",
                Protocol::SCTP => "--sctp-service",
                _ => "--xxx-service",
            };
            format!("{option} {}", namer.endpoint(*address, *port, *protocol))
        }
    }
}

fn tunnel(d: &Destination) -> String {
    if d.method != ForwardingMethod::Tunnel {
        return String::new();
    }
    let checksum = if d.tunnel.flags.contains(TunnelFlags::REMOTE_CHECKSUM) {
        "--tun-remcsum"
    } else if d.tunnel.flags.contains(TunnelFlags::CHECKSUM) {
        "--tun-csum"
    } else {
        "--tun-nocsum"
    };
    match d.tunnel.kind {
        TunnelType::Ipip => " --tun-type ipip".into(),
        TunnelType::Gue => format!(" --tun-type gue --tun-port {} {checksum}", d.tunnel.port),
        TunnelType::Gre => format!(" --tun-type gre {checksum}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::action::Action;
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn what_is_saved_restores_to_the_same() {
        let lines = [
            "-A -t 207.175.44.110:80 -s rr",
            "-a -t 207.175.44.110:80 -r 192.168.10.1:8080 -m -w 65535",
            "-a -t 207.175.44.110:80 -r 192.168.10.1:80 -g -w 0",
            "-A -t 10.0.0.1:0 -s wrr -p 60 -b flag-1,flag-3",
            "-A -t 10.0.0.1:443 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port",
            "-a -t 10.0.0.1:443 -r 192.168.10.2:443 -i -w 1 --tun-type ipip",
            "-A -u 10.0.0.53:53 -s wlc -o",
            "-A --sctp-service 10.0.0.9:5060 -s rr",
            "-A -f 7 -s mh -p 360 -b mh-port",
            "-a -f 7 -r 192.168.0.3:0 -m -w 1",
            "-A -f 5 -6 -s wrr",
            "-A -f 4294967295 -s wrr",
            "-a -t [2001:db8::80]:80 -r 192.168.111.222:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
            "-a -t 10.0.0.1:80 -r 192.168.111.222:80 -i -w 1 --tun-type gre --tun-nocsum",
            "-A -u [2001:db8:1234:5678:9abc:def0:1234:5678]:5060 -s wlc -p 300 -M 64 --pe sip",
        ];
        let mut namer = Namer::new(true);
        for line in lines {
            let words: Vec<String> = line.split(' ').map(Into::into).collect();
            let saved = match parse("ipvsadm", &words).unwrap() {
                Action::AddService(s) => service(&s, &mut namer),
                Action::AddServer(id, d) => destination(&id, &d, &mut namer),
                other => panic!("{other:?}"),
            };
            assert_eq!(saved, format!("{line}\n"));
        }
    }

    #[test]
    fn a_local_real_server_is_saved_as_one_of_direct_routing() {
        let words = "-a -t 10.0.0.1:80 -r 10.0.0.1:80 -m".split(' ').map(Into::into).collect::<Vec<String>>();
        let Action::AddServer(id, server) = parse("ipvsadm", &words).unwrap() else { panic!("not added") };
        let local = Destination { method: ForwardingMethod::Local, ..server };
        let saved = destination(&id, &local, &mut Namer::new(true));
        assert_eq!(saved, "-a -t 10.0.0.1:80 -r 10.0.0.1:80 -g -w 1\n");
    }
}
