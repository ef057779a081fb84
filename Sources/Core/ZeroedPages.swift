import CLinux
import Glibc

/// Zeroed memory straight from the kernel, which gives each page when it is first touched: what is never used costs nothing,
/// and getting and giving back megabytes takes microseconds. Freed with the value; fit for what is large, since it is
/// rounded up to pages.
@safe
public struct ZeroedPages: ~Copyable {
  private static let hugeByteCount = 2 << 20

  /// Where it begins, on a page's border.
  public let start: UnsafeMutableRawPointer
  private let mapped: (start: UnsafeMutableRawPointer, byteCount: Int)

  /// So many bytes, at least one. With `isHuge` whole pages of two megabytes are asked for, so that a look anywhere misses no
  /// translation of its address; the kernel may give small ones nevertheless. Ends the process where there is no memory, as
  /// Swift's own allocations do.
  public init(byteCount: Int, isHuge: Bool = false) {
    precondition(byteCount > 0)
    let slack = isHuge ? Self.hugeByteCount : 0
    guard
      let memory = unsafe mmap(
        nil, byteCount + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      unsafe memory != MAP_FAILED
    else { fatalError("out of memory") }
    unsafe mapped = (memory, byteCount + slack)
    guard isHuge else {
      unsafe start = memory
      return
    }
    // The slack before and behind it is never touched, so it is nothing but addresses.
    unsafe start = memory.alignedUp(toMultipleOf: Self.hugeByteCount)
    // The last piece would cost two whole megabytes.
    let whole = byteCount / Self.hugeByteCount * Self.hugeByteCount
    if whole > 0 { _ = unsafe madvise(start, whole, MADV_HUGEPAGE) }
  }

  deinit { _ = unsafe munmap(mapped.start, mapped.byteCount) }
}

/// Begins to fetch the line of the cache at an address, of which nothing else is asked. Costs an instruction.
@inline(__always)
public func prefetch(_ address: UnsafeRawPointer) { unsafe sluice_prefetch(address) }
