//! A whole virtual server: the classical network with its director running and real servers at work.

use anyhow::{Context, Result, bail};

use crate::director::{Director, rlvs};
use crate::process::Process;
use crate::real_server;
use crate::topology::{Family, Method, Topology, with_port};

/// A director and its real servers, `rs1`, `rs2` and so on, for one forwarding method and one family.
pub struct Cluster {
    // Dropped in this order: programs before the hosts that they run on.
    director: Option<Director>,
    programs: Vec<Process>,
    /// Its network.
    pub net: Topology,
    /// The family of its VIP and its real servers.
    pub family: Family,
}

impl Cluster {
    /// Builds the network, prepares the real servers for the VIP, and starts the director. There is no service yet.
    ///
    /// # Errors
    ///
    /// When this is not root, `rlvs` is not built, or the director does not get ready.
    pub fn start(method: Method, family: Family, servers: u8) -> Result<Self> {
        Self::start_on(Topology::new(method, servers)?, family)
    }

    /// As [`Cluster::start`], on a network that is there.
    ///
    /// # Errors
    ///
    /// As those.
    pub fn start_on(net: Topology, family: Family) -> Result<Self> {
        let method = net.method();
        if method == Method::Dr {
            net.accept_vip(family)?;
        }
        if let Some(options) = method.unwrapping() {
            for server in &net.servers {
                rlvs(server, &format!("realserver add --vip {} {options}", family.vip()))?;
            }
        }
        let director = Some(Director::start(&net.director)?);
        Ok(Self { director, programs: Vec::new(), net, family })
    }

    /// Starts nginx on all real servers, and makes the service VIP:80 of the first `used` of them, scheduled by `rr`.
    ///
    /// # Errors
    ///
    /// When a program does not start, or the director refuses the service.
    pub fn serve_http(&mut self, used: u8) -> Result<()> {
        for (host, number) in self.net.servers.iter().zip(1..) {
            let address = self.net.listen_address(self.family, number);
            self.programs.push(real_server::nginx(host, address, 80, &format!("rs{number}"))?);
        }
        self.add_service("-t", 80, used)
    }

    /// Starts dnsmasq on all real servers, and makes them the service VIP:53 over UDP, scheduled by `rr`.
    ///
    /// # Errors
    ///
    /// When a program does not start, or the director refuses the service.
    pub fn serve_dns(&mut self) -> Result<()> {
        for (host, number) in self.net.servers.iter().zip(1..) {
            let address = self.net.listen_address(self.family, number);
            self.programs.push(real_server::dnsmasq(host, address, &format!("rs{number}"))?);
        }
        self.add_service("-u", 53, u8::try_from(self.net.servers.len())?)
    }

    /// Starts caddy on all real servers, and makes them the service VIP:443 over TCP and over UDP, scheduled by `rr`.
    ///
    /// # Errors
    ///
    /// When a program does not start, or the director refuses a service.
    pub fn serve_https(&mut self) -> Result<()> {
        for (host, number) in self.net.servers.iter().zip(1..) {
            let address = self.net.listen_address(self.family, number);
            self.programs.push(real_server::caddy(host, address, &format!("rs{number}"))?);
        }
        let used = u8::try_from(self.net.servers.len())?;
        self.add_service("-t", 443, used)?;
        self.add_service("-u", 443, used)
    }

    /// Starts sipp on all real servers, and makes them the service VIP:5060 over UDP, scheduled by `rr` and with these other options
    /// of ipvsadm.
    ///
    /// # Errors
    ///
    /// When a program does not start, or the director refuses the service.
    pub fn serve_sip(&mut self, options: &str) -> Result<()> {
        for (host, number) in self.net.servers.iter().zip(1..) {
            self.programs.push(real_server::sipp(host, self.net.listen_address(self.family, number))?);
        }
        self.add_service("-u", 5060, u8::try_from(self.net.servers.len())?)?;
        if !options.is_empty() {
            self.ipvsadm(&format!("-E -u {} -s rr {options}", self.service(5060)))?;
        }
        Ok(())
    }

    /// Starts iperf3 on the first real server, and makes it the service VIP:5201 over TCP and UDP.
    ///
    /// # Errors
    ///
    /// When the program does not start, or the director refuses the service.
    pub fn serve_iperf3(&mut self) -> Result<()> {
        let address = self.net.listen_address(self.family, 1);
        self.programs.push(real_server::iperf3(&self.net.servers[0], address, 5201)?);
        self.add_service("-t", 5201, 1)?;
        self.add_service("-u", 5201, 1)
    }

    /// Makes the first `used` real servers a service on the same port as theirs; `protocol` is ipvsadm's option for it.
    ///
    /// # Errors
    ///
    /// When the director refuses it.
    pub fn add_service(&self, protocol: &str, port: u16, used: u8) -> Result<()> {
        let service = self.service(port);
        self.ipvsadm(&format!("-A {protocol} {service} -s rr"))?;
        for number in 1..=used {
            let (server, method) = (self.server(number, port), self.net.method().option());
            self.ipvsadm(&format!("-a {protocol} {service} -r {server} {method}"))?;
        }
        Ok(())
    }

    /// VIP and port in ipvsadm's words.
    pub fn service(&self, port: u16) -> String {
        with_port(self.family.vip(), port)
    }

    /// A real server's address and port in ipvsadm's words.
    pub fn server(&self, number: u8, port: u16) -> String {
        with_port(self.family.server(number), port)
    }

    /// Runs `rlvs ipvsadm` on the director's host; what it printed.
    ///
    /// # Errors
    ///
    /// When it fails: with what it printed.
    pub fn ipvsadm(&self, arguments: &str) -> Result<String> {
        rlvs(&self.net.director, &format!("ipvsadm {arguments}"))
    }

    /// The listing of services and destinations.
    ///
    /// # Errors
    ///
    /// When the director does not answer.
    pub fn listing(&self) -> Result<String> {
        self.ipvsadm("-L -n")
    }

    /// Active and inactive connections of a destination, as the listing has them.
    ///
    /// # Errors
    ///
    /// When it is not listed.
    pub fn connections(&self, number: u8, port: u16) -> Result<(u32, u32)> {
        let listing = self.listing()?;
        let server = self.server(number, port);
        let line = listing.lines().find(|line| line.split_whitespace().nth(1) == Some(&server));
        // "-> RemoteAddress:Port Forward Weight ActiveConn InActConn"
        let words: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
        match words.as_slice() {
            [_, _, _, _, active, inactive] => Ok((active.parse()?, inactive.parse()?)),
            _ => bail!("{server} is not listed: {listing}"),
        }
    }

    /// Kills the director as a crash does.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn crash_director(&mut self) -> Result<()> {
        self.director.take().context("the director does not run")?.kill()
    }

    /// Ends the director as a service manager does.
    ///
    /// # Errors
    ///
    /// When it does not run, or its end is not a clean one.
    pub fn stop_director(&mut self) -> Result<()> {
        self.director.take().context("the director does not run")?.stop()
    }

    /// Starts the director again.
    ///
    /// # Errors
    ///
    /// When it does not get ready.
    pub fn start_director(&mut self) -> Result<()> {
        self.director = Some(Director::start(&self.net.director)?);
        Ok(())
    }
}
