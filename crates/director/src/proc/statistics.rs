//! `net/ip_vs_stats` and `net/ip_vs_stats_percpu`: all services together. All numbers are hexadecimal.

use rlvs_ipvs::{Stats, Totals};

/// `ip_vs_stats`.
pub(super) fn total(totals: &Totals) -> String {
    let (counted, rates) = counted_and_rates(&totals.stats);
    format!(
        "   Total Incoming Outgoing         Incoming         Outgoing\n\
         \x20  Conns  Packets  Packets            Bytes            Bytes\n\
         {}\n\n Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n{}\n",
        row(counted),
        row(rates)
    )
}

/// `ip_vs_stats_percpu`.
pub(super) fn by_cpu(totals: &Totals) -> String {
    let (counted, rates) = counted_and_rates(&totals.stats);
    let cpus: String = (0..)
        .zip(&totals.cpus)
        .map(|(cpu, numbers): (u32, _)| format!("{cpu:3X} {}\n", row(*numbers)))
        .collect();
    format!(
        "       Total Incoming Outgoing         Incoming         Outgoing\n\
         CPU    Conns  Packets  Packets            Bytes            Bytes\n\
         {cpus}  ~ {}\n\n     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n    {}\n",
        row(counted),
        row(rates)
    )
}

fn row([connections, packets_in, packets_out, octets_in, octets_out]: [u64; 5]) -> String {
    format!("{connections:8X} {packets_in:8X} {packets_out:8X} {octets_in:16X} {octets_out:16X}")
}

fn counted_and_rates(s: &Stats) -> ([u64; 5], [u64; 5]) {
    (
        [s.connections, s.in_packets, s.out_packets, s.in_bytes, s.out_bytes],
        [s.connections_rate, s.in_packets_rate, s.out_packets_rate, s.in_bytes_rate, s.out_bytes_rate],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As recorded from Linux.
    #[test]
    fn nothing_counted() {
        let text = "   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
       0        0        0                0                0

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       0        0        0                0                0
";
        assert_eq!(total(&Totals::default()), text);
    }

    #[test]
    fn each_cpu_has_a_line() {
        let stats = Stats { connections: 0x1f, in_bytes: 0xabc, in_packets_rate: 10, ..Stats::default() };
        let cpus = vec![[1, 2, 3, 4, 5], [0x1e, 0, 0, 0, 0]];
        let text = "       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0        1        2        3                4                5
  1       1E        0        0                0                0
  ~       1F        0        0              ABC                0

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           0        A        0                0                0
";
        assert_eq!(by_cpu(&Totals { stats, cpus }), text);
    }
}
