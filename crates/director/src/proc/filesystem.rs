//! The kernel's requests to the file system.

use super::content::{Content, Pieces};
use super::nodes::{self, Kind, Node};
use super::{Source, connections, services, statistics};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rlvs_ipvs::{Reply, Setting};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Names and attributes never change.
const FOREVER: Duration = Duration::from_secs(3600);

pub(super) struct ProcFilesystem {
    source: Source,
    nodes: Vec<Node>,
    open: Mutex<OpenFiles>,
}

#[derive(Default)]
struct OpenFiles {
    last: u64,
    contents: HashMap<u64, Content>,
}

impl ProcFilesystem {
    pub(super) fn new(source: Source) -> ProcFilesystem {
        ProcFilesystem { source, nodes: nodes::all(), open: Mutex::default() }
    }

    fn node(&self, number: INodeNo) -> Option<&Node> {
        self.nodes.get(usize::try_from(u64::from(number)).ok()?.checked_sub(1)?)
    }

    fn open_files(&self) -> MutexGuard<'_, OpenFiles> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, number: INodeNo) -> Option<FileAttr> {
        let (kind, perm, nlink) = match self.node(number)?.kind {
            Kind::Folder => (FileType::Directory, 0o555, 2),
            Kind::Setting(_) => (FileType::RegularFile, 0o644, 1),
            _ => (FileType::RegularFile, 0o444, 1),
        };
        Some(FileAttr {
            ino: number,
            // As in /proc: readers go on to the end.
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// A file's content from its beginning.
    fn pieces(&self, kind: Kind) -> Result<Pieces, rlvs_ipvs::Errno> {
        let one = |text: String| -> Pieces { Box::new(std::iter::once(text)) };
        Ok(match kind {
            Kind::Folder => return Err(rlvs_ipvs::Errno::ISDIR),
            Kind::Services => one(services::listing(|request| self.source.ask(request))?),
            Kind::Connections => connections::listing(self.source.tables.clone()),
            Kind::SyncedConnections => connections::synced(self.source.tables.clone()),
            Kind::Statistics => one(statistics::total(&self.totals()?)),
            Kind::StatisticsByCpu => one(statistics::by_cpu(&self.totals()?)),
            // Lists the modules that help with protocols such as FTP; our switch has no modules.
            Kind::Applications => one("prot port    usecnt name\n".into()),
            Kind::Setting(name) => match self.source.ask(rlvs_ipvs::Request::GetSetting(name.into()))? {
                Reply::Settings(settings) => one(settings.into_iter().map(|s| s.value + "\n").collect()),
                _ => return Err(rlvs_ipvs::Errno::IO),
            },
        })
    }

    fn totals(&self) -> Result<rlvs_ipvs::Totals, rlvs_ipvs::Errno> {
        match self.source.ask(rlvs_ipvs::Request::GetTotals)? {
            Reply::Totals(totals) => Ok(totals),
            _ => Err(rlvs_ipvs::Errno::IO),
        }
    }

    fn change(&self, number: INodeNo, data: &[u8]) -> Result<(), rlvs_ipvs::Errno> {
        let Some(Node { kind: Kind::Setting(name), .. }) = self.node(number) else {
            return Err(rlvs_ipvs::Errno::ACCESS);
        };
        let value = std::str::from_utf8(data).map_err(|_| rlvs_ipvs::Errno::INVAL)?;
        let setting = Setting { name: (*name).into(), value: value.trim_end_matches('\0').into() };
        self.source.ask(rlvs_ipvs::Request::SetSetting(setting)).map(drop)
    }
}

fn errno(errno: rlvs_ipvs::Errno) -> Errno {
    Errno::from_i32(errno.raw_os_error())
}

impl Filesystem for ProcFilesystem {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut numbers = (1..).map(INodeNo).zip(&self.nodes);
        let found = numbers.find(|(number, node)| {
            node.parent == u64::from(parent) && *number != INodeNo::ROOT && Some(node.name) == name.to_str()
        });
        match found.and_then(|(number, _)| self.attributes(number)) {
            Some(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(number) {
            Some(attributes) => reply.attr(&FOREVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    /// A file opened for writing is truncated by some: that changes nothing, nor does anything else here.
    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if mode.is_some() || uid.is_some() || gid.is_some() {
            return reply.error(Errno::EPERM);
        }
        self.getattr(request, number, handle, reply);
    }

    fn readdir(&self, _: &Request, folder: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let Some(node) = self.node(folder) else { return reply.error(Errno::ENOENT) };
        let here = [(u64::from(folder), "."), (node.parent, "..")];
        let below = (1..).zip(&self.nodes).skip(1).filter(|(_, node)| node.parent == u64::from(folder));
        let all = here.into_iter().chain(below.map(|(number, node)| (number, node.name)));
        for (next, (number, name)) in (1..).zip(all).skip(offset as usize) {
            let kind = self.attributes(INodeNo(number)).map_or(FileType::Directory, |a| a.kind);
            if reply.add(INodeNo(number), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let Some(node) = self.node(number) else { return reply.error(Errno::ENOENT) };
        match self.pieces(node.kind) {
            Ok(pieces) => {
                let mut open = self.open_files();
                open.last += 1;
                let handle = open.last;
                open.contents.insert(handle, Content::new(pieces));
                reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut open = self.open_files();
        let Some(content) = open.contents.get_mut(&u64::from(handle)) else {
            return reply.error(Errno::EBADF);
        };
        if content.read(offset, 0).is_none() {
            // Back to what was read before: all anew.
            let Some(node) = self.node(number) else { return reply.error(Errno::ENOENT) };
            match self.pieces(node.kind) {
                Ok(pieces) => *content = Content::new(pieces),
                Err(error) => return reply.error(errno(error)),
            }
        }
        reply.data(content.read(offset, size as usize).unwrap_or_default());
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if offset != 0 {
            return reply.error(Errno::EINVAL);
        }
        match self.change(number, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.open_files().contents.remove(&u64::from(handle));
        reply.ok();
    }
}
