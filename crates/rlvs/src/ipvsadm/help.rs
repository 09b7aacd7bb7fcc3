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
    "-A|E virtual-service [-s scheduler] [-p [timeout]] [-M netmask] [--pe persistence_engine] [-b sched-flags]",
    "-D virtual-service",
    "-C",
    "-R",
    "-S [-n]",
    "-a|e virtual-service -r server-address [options]",
    "-d virtual-service -r server-address",
    "-L|l [virtual-service] [options]",
    "-Z [virtual-service]",
    "--set tcp tcpfin udp",
    "--start-daemon {master|backup} [daemon-options]",
    "--stop-daemon {master|backup}",
    "-h",
];

/// Options, sections and columns are the original's, which scripts may look for; the sentences are our own.
const OPTIONS: &str = "
Commands:
Each by its long or its short name; the first option must be one.
  --add-service     -A        create a virtual service
  --edit-service    -E        replace all settings of a virtual service
  --delete-service  -D        remove a virtual service and its real servers
  --clear           -C        remove all virtual services
  --restore         -R        carry out commands from standard input, one a line
  --save            -S        print the table as commands for --restore
  --add-server      -a        give a virtual service another real server
  --edit-server     -e        replace all settings of a real server
  --delete-server   -d        take a real server away
  --list            -L|-l     show the table, as without any command
  --zero            -Z        set the counters of one or all services to zero
  --set tcp tcpfin udp        set the timeouts of connections; 0 leaves one alone
  --start-daemon              start to synchronise connections
  --stop-daemon               stop it
  --help            -h        show this text
  --version         -v        show the version

virtual-service:
  --tcp-service|-t  service-address   an address or name and a port: host[:port]
  --udp-service|-u  service-address   likewise
  --sctp-service    service-address   likewise
  --fwmark-service|-f fwmark          packets with this firewall mark, from 1 on

Options:
  --ipv6         -6                   after -f: of IPv6 packets
  --scheduler    -s scheduler         rr|wrr|lc|wlc|lblc|lblcr|dh|sh|sed|nq|fo|ovf|mh|twos;
                                      wlc unless given
  --pe            engine              find the persistent client by this engine: sip
  --persistent   -p [timeout]         keep a client on its server; for 360 seconds unless given
  --netmask      -M netmask           and all clients with it under this mask or prefix length
  --real-server  -r server-address    host[:port]
  --gatewaying   -g                   by direct routing, as unless given
  --ipip         -i                   by a tunnel
  --masquerading -m                   by NAT
  --tun-type      type                ipip|gue|gre; ipip unless given
  --tun-port      port                where gue goes
  --tun-nocsum                        the tunnel has no checksum
  --tun-csum                          it has one
  --tun-remcsum                       the remote end makes one
  --weight       -w weight            share of connections; 1 unless given, 0 for no new ones
  --u-threshold  -x uthreshold        no new connections from this number on
  --l-threshold  -y lthreshold        and new ones again below this number
  --connection   -c                   list the connections
  --timeout                           list the timeouts
  --daemon                            list the synchronisation daemons
  --stats                             list counters
  --rate                              list rates
  --exact                             with large numbers in full
  --thresholds                        list thresholds
  --persistent-conn                   list persistent connections
  --tun-info                          list tunnels
  --nosort                            in the director's order
  --sort                              accepted, without effect
  --ops          -o                   schedule each packet on its own
  --numeric      -n                   addresses and ports as numbers
  --sched-flags  -b flags             flag-1, flag-2, flag-3; of sh sh-fallback, sh-port;
                                      of mh mh-fallback, mh-port; with commas between them
Daemon Options:
  --syncid sid                        0 to 255; 0 unless given
  --sync-maxlen length                longest message in octets
  --mcast-interface interface         eth0 unless given
  --mcast-group address               224.0.0.81 unless given
  --mcast-port port                   8848 unless given
  --mcast-ttl ttl                     1 unless given
";
