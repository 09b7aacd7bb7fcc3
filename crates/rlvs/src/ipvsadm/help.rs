//! What -h and -v say.

/// The version line: that of the ipvsadm whose behaviour this is, since scripts look for it.
pub const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

/// The usage text, after the version line.
pub fn usage(program: &str) -> String {
    let mut text = String::from("Usage:\n");
    for synopsis in SYNOPSES {
        text += &format!("  {program} {synopsis}\n");
    }
    text + OPTIONS
}

const SYNOPSES: [&str; 13] = [
    "-A|E SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M MASK] [--pe ENGINE] [-b FLAGS] [-o]",
    "-D SERVICE",
    "-C",
    "-R",
    "-S [-n]",
    "-a|e SERVICE -r SERVER [-g|-i|-m] [-w WEIGHT] [-x UPPER] [-y LOWER] [TUNNEL OPTIONS]",
    "-d SERVICE -r SERVER",
    "-L|l [SERVICE] [OPTIONS]",
    "-Z [SERVICE]",
    "--set TCP TCPFIN UDP",
    "--start-daemon {master|backup} [DAEMON OPTIONS]",
    "--stop-daemon {master|backup}",
    "-h",
];

const OPTIONS: &str = "
Commands:
  -A, --add-service          create a virtual service
  -E, --edit-service         replace all settings of a virtual service
  -D, --delete-service       remove a virtual service and its real servers
  -C, --clear                remove all virtual services
  -R, --restore              carry out commands from standard input, one a line
  -S, --save                 print the table as commands for --restore
  -a, --add-server           give a virtual service another real server
  -e, --edit-server          replace all settings of a real server
  -d, --delete-server        take a real server away
  -L, -l, --list             show the table (the default)
  -Z, --zero                 set the counters of one or all services to zero
      --set TCP TCPFIN UDP   set the connection timeouts; 0 leaves one alone
      --start-daemon ROLE    start to synchronise connections
      --stop-daemon ROLE     stop it
  -v, --version              show the version
  -h, --help                 show this text

SERVICE is one of:
  -t, --tcp-service HOST[:PORT]
  -u, --udp-service HOST[:PORT]
      --sctp-service HOST[:PORT]
  -f, --fwmark-service MARK  packets with this firewall mark, from 1 on
  -6, --ipv6                 after -f: IPv6 packets

Options of a service:
  -s, --scheduler NAME       rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh; wlc unless given
  -p, --persistent [SECONDS] keep a client on its server; 360 seconds unless given
  -M, --netmask MASK         ... and all clients with it under this mask or prefix length
      --pe ENGINE            ... by what this persistence engine finds (sip)
  -b, --sched-flags FLAGS    flag-1 flag-2 flag-3, for sh and mh also sh-fallback sh-port
                             mh-fallback mh-port; with commas between them
  -o, --ops                  schedule each packet on its own

Options of a real server:
  -r, --real-server HOST[:PORT]
  -g, --gatewaying           direct routing; the default
  -i, --ipip                 tunnelling
  -m, --masquerading         NAT
  -w, --weight NUMBER        share of connections; 1 unless given, 0 for no new ones
  -x, --u-threshold NUMBER   no new connections from this number on
  -y, --l-threshold NUMBER   new ones again below this number
      --tun-type TYPE        ipip gue gre; ipip unless given
      --tun-port PORT        where gue goes
      --tun-nocsum, --tun-csum, --tun-remcsum
                             checksum of the tunnel: none, whole, remote

Options of a listing:
  -n, --numeric              addresses and ports as numbers
  -c, --connection           the connection table
      --timeout              the connection timeouts
      --daemon               the synchronisation daemons
      --stats                counters
      --rate                 rates
      --thresholds           thresholds
      --persistent-conn      persistent connections
      --tun-info             tunnels
      --exact                large numbers in full
      --nosort               in the director's order
      --sort                 accepted and without effect

Daemon options:
      --syncid NUMBER        0 to 255; 0 unless given
      --sync-maxlen OCTETS   longest message
      --mcast-interface NAME eth0 unless given
      --mcast-group ADDRESS  224.0.0.81 unless given
      --mcast-port PORT      8848 unless given
      --mcast-ttl NUMBER     1 unless given
";
