//! No heap between clone and exec: every stock plan, succeeding and failing at every step, under an allocator that notes
//! each use by a process other than the one that armed it. It notes rather than aborts: the end of a child is what half of
//! these runs expect, and an abort among them would pass unseen.

#![allow(unsafe_code)]

#[path = "faults/stock.rs"]
mod stock;
mod support;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use sandbox::plan::Step;
use sandbox::{Runner, Status};
use std::alloc::{GlobalAlloc, Layout, System};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;
use stock::Stock;
use support::{Case, Place, Test, test};

/// Uses of the heap by other processes. On a page that all of them share: a clone's own memory is a copy.
#[derive(Default)]
struct Book {
    allocations: AtomicUsize,
    releases: AtomicUsize,
    resizes: AtomicUsize,
    /// The size of the last one, to find it by.
    size: AtomicUsize,
}

/// The process that armed it; 0 while it is not.
static ARMED_BY: AtomicI32 = AtomicI32::new(0);
static BOOK: AtomicPtr<Book> = AtomicPtr::new(ptr::null_mut());

struct Noting;

#[global_allocator]
static ALLOCATOR: Noting = Noting;

fn note(kind: fn(&Book) -> &AtomicUsize, size: usize) {
    let armed_by = ARMED_BY.load(Ordering::Relaxed);
    // A system call each time: no libc that we support caches it.
    if armed_by == 0 || std::process::id() as i32 == armed_by {
        return;
    }
    // SAFETY: `arm` set the pointer, before it set ARMED_BY, to a page that is never unmapped and holds a `Book`.
    if let Some(book) = unsafe { BOOK.load(Ordering::Acquire).as_ref() } {
        kind(book).fetch_add(1, Ordering::Relaxed);
        book.size.store(size, Ordering::Relaxed);
    }
}

// SAFETY: every method passes its arguments on to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(|book| &book.allocations, layout.size());
        // SAFETY: the caller's promises about `layout` are the ones that System asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(|book| &book.allocations, layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(|book| &book.resizes, size);
        // SAFETY: `block` came from System by one of these methods, with this `layout`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(|book| &book.releases, layout.size());
        // SAFETY: `block` came from System by one of these methods, with this `layout`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Arms the allocator for this process, and gives the book.
fn arm() -> &'static Book {
    let length = NonZeroUsize::new(4096).expect("not zero");
    let (protection, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory of anybody's.
    let page = unsafe { mmap_anonymous(None, length, protection, flags) }.expect("a page");
    let book: *mut Book = page.as_ptr().cast();
    BOOK.store(book, Ordering::Release);
    let own = std::process::id() as i32;
    // Init is 1 and the payload 2 in their namespace: this process must not look like one of them.
    assert!(own > 2, "this process has the pid {own}");
    ARMED_BY.store(own, Ordering::Release);
    // SAFETY: the page is writable, aligned, large enough and never unmapped; zeroes are a `Book`.
    unsafe { &*book }
}

impl Book {
    #[track_caller]
    fn assert_empty(&self, what: impl Fn() -> String) {
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let (made, freed, resized) = (read(&self.allocations), read(&self.releases), read(&self.resizes));
        assert!(
            made + freed + resized == 0,
            "{}: the heap was used between clone and exec: {made} allocations, {freed} releases, {resized} resizes, \
             the last of {} bytes",
            what(),
            read(&self.size)
        );
    }
}

fn runner() -> Runner {
    Runner::single_threaded().unwrap_or_else(|e| panic!("{e}"))
}

/// Every step of every stock plan, done and refused.
fn no_heap(stock: &Stock, place: &Place) {
    stock::prepare(place);
    let Some((spec, host, plan)) = stock.plan(place) else { return };
    let (runner, book) = (runner(), arm());
    let report = runner.launch_plan(&spec, &host, plan.clone()).unwrap_or_else(|e| panic!("{e}")).wait();
    assert_eq!(report.status, Status::Ok, "{}", report.message);
    book.assert_empty(|| "a run that succeeds".to_owned());
    let mut failed = 0;
    for payload in [false, true] {
        for index in 0..if payload { plan.payload.len() } else { plan.room.len() } {
            let mut plan = plan.clone();
            let steps = if payload { &mut plan.payload } else { &mut plan.room };
            let words = sandbox::plan::words::describe(&steps[index]);
            steps[index] = Step::Fault { step: Box::new(steps[index].clone()), errno: libc::EIO };
            match runner.launch_plan(&spec, &host, plan) {
                Ok(running) => assert_ne!(running.wait().status, Status::Ok, "{words}"),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}"),
            }
            book.assert_empty(|| format!("a run that fails to {words}"));
            failed += 1;
        }
    }
    assert_eq!(failed, plan.room.len() + plan.payload.len());
    for command in [&["./no-such-program"][..], &["no-such-program"], &["/etc"], &["/etc/passwd"]] {
        let Some((spec, host, plan)) = stock.with_command(place, command) else { return };
        let report = runner.launch_plan(&spec, &host, plan).unwrap_or_else(|e| panic!("{e}")).wait();
        assert_eq!(report.status, Status::ExecFailed, "{}", report.message);
        book.assert_empty(|| format!("a run that cannot execute {}", command[0]));
    }
}

/// What init does after the start: reap orphans, obey the supervisor, end the run by itself.
fn init_reaps_and_obeys_without_heap(place: &Place) {
    use sandbox::{Millis, Spec};
    stock::prepare(place);
    let shell = |script: &str| Spec::new(["sh", "-c", script]);
    let (runner, book) = (runner(), arm());
    let orphans = shell("for i in 1 2 3 4 5; do (sleep 0.1; exit $i) & done; (sleep 30 &); sleep 0.2");
    let report = runner.run(&orphans).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((report.status, report.left_running), (Status::Ok, Some(1)), "{}", report.message);
    book.assert_empty(|| "a run with orphans".to_owned());
    let report = runner.run(&shell("sleep 30 & sleep 30").wall_time(Millis::new(100)));
    assert_eq!(report.unwrap_or_else(|e| panic!("{e}")).status, Status::WallTimeLimit);
    book.assert_empty(|| "a run that is ended".to_owned());
    let running = runner.launch(&shell("sleep 30").wall_time(Millis::new(100))).unwrap_or_else(|e| panic!("{e}"));
    // Nobody watches until init's own timer, a second later than the limit.
    std::thread::sleep(Duration::from_millis(1500));
    let report = running.wait();
    assert_eq!(report.status, Status::WallTimeLimit, "{}", report.message);
    book.assert_empty(|| "a run that init ends by itself".to_owned());
    drop(runner.launch(&shell("sleep 30")).unwrap_or_else(|e| panic!("{e}")));
    book.assert_empty(|| "a run that is dropped".to_owned());
}

/// The check of the check: a child that uses the heap is noted, whichever way it does, and this process is not.
fn heap_use_in_a_child_is_noticed(_: &Place) {
    let book = arm();
    let mut block = Vec::<u8>::with_capacity(4000);
    let mut in_a_child = |misuse: &mut dyn FnMut(&mut Vec<u8>)| {
        // SAFETY: this process has one thread, so its copy may go on as it likes.
        match unsafe { nix::unistd::fork() }.expect("a child") {
            nix::unistd::ForkResult::Child => {
                misuse(&mut block);
                // SAFETY: _exit ends the process and runs nothing of ours.
                unsafe { libc::_exit(0) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                nix::sys::wait::waitpid(child, None).expect("our child");
            }
        }
        let counts = [&book.allocations, &book.releases, &book.resizes];
        counts.map(|count| count.swap(0, Ordering::Relaxed))
    };
    assert_eq!(in_a_child(&mut |_| {}), [0, 0, 0], "a child that does nothing");
    assert_eq!(in_a_child(&mut |_| std::mem::forget(std::hint::black_box(Box::new([7u8; 64])))), [1, 0, 0]);
    assert_eq!(in_a_child(&mut |block| drop(std::mem::take(block))), [0, 1, 0]);
    assert_eq!(in_a_child(&mut |block| block.reserve_exact(100_000)), [0, 0, 1]);
    assert_eq!(in_a_child(&mut |_| drop(std::hint::black_box(format!("{}", 4711)))), [1, 1, 0], "formatting");
    drop(std::hint::black_box(vec![0u8; 64]));
    book.assert_empty(|| "this process's own use".to_owned());
}

const TESTS: &[Test] = &[test!(heap_use_in_a_child_is_noticed), test!(init_reaps_and_obeys_without_heap)];

fn cases(_sources: &Path) -> Vec<Case> {
    let mut cases = Case::of_table("no_heap", TESTS);
    cases.extend(stock::cases("no_heap", no_heap));
    cases
}

fn main() -> ExitCode {
    support::run_all(&[], cases)
}
