// Counters with one writer and any number of readers.
//
// A loop adds, the admin thread reads. Since only one thread ever adds to a cell, adding is a plain load, add and
// store: relaxed atomics without the bus lock that a read-modify-write would cost. A reader sees a value that was true
// a moment ago, which is all that a counter promises. The memory comes zeroed from the kernel, so that what nobody
// touches takes no space.

import Glibc
import Synchronization

/// A run of 64-bit counters at a stable address; who makes it frees it.
///
/// `@unchecked`: the pointer never changes, and what it points to is only touched by atomic operations.
@safe
struct CounterMemory: @unchecked Sendable {
  private let cells: UnsafeMutablePointer<Atomic<UInt64>>
  let count: Int

  init(count: Int) {
    precondition(count > 0)
    // Zero bytes are the representation of Atomic(0).
    // Made at the start or on a reload; a process without memory for its counters has none for requests either.
    guard let memory = unsafe calloc(count, 8) else { fatalError("out of memory for \(count) counters") }
    unsafe cells = memory.bindMemory(to: Atomic<UInt64>.self, capacity: count)
    self.count = count
  }

  /// The memory that ``address`` named; it must still be allocated.
  fileprivate init(address: UInt, count: Int) {
    guard let cells = unsafe UnsafeMutablePointer<Atomic<UInt64>>(bitPattern: address) else {
      preconditionFailure("the address of no counters")
    }
    unsafe self.cells = cells
    self.count = count
  }

  fileprivate var address: UInt { unsafe UInt(bitPattern: cells) }

  func free() { unsafe Glibc.free(cells) }

  /// Adds to one counter; for the one thread that owns the memory.
  @inline(__always)
  func add(_ amount: UInt64 = 1, to index: Int) {
    precondition(index >= 0 && index < count)
    let value = unsafe cells[index].load(ordering: .relaxed)
    unsafe cells[index].store(value &+ amount, ordering: .relaxed)
  }

  /// The same where the memory is known to hold `total` counters: both numbers are constants, and so is the check.
  @inline(__always)
  func add(_ amount: UInt64 = 1, to index: Int, of total: Int) {
    precondition(index >= 0 && index < total)
    assert(total <= count)
    let value = unsafe cells[index].load(ordering: .relaxed)
    unsafe cells[index].store(value &+ amount, ordering: .relaxed)
  }

  /// Sets one counter; for the one thread that owns the memory.
  func set(_ value: UInt64, at index: Int) {
    precondition(index >= 0 && index < count)
    unsafe cells[index].store(value, ordering: .relaxed)
  }

  /// What a counter says, on any thread.
  func value(at index: Int) -> UInt64 {
    precondition(index >= 0 && index < count)
    return unsafe cells[index].load(ordering: .relaxed)
  }
}

/// How many counters a row of a table has; a constant of the type, so that checking an index against it costs little.
protocol CounterColumns {
  static var count: Int { get }
}

/// Rows of counters of which each is allocated when it is first written.
///
/// `@unchecked`: as for ``CounterMemory``; a row is published with release order after it was zeroed.
@safe
struct CounterTable<Columns: CounterColumns>: @unchecked Sendable {
  private let rows: UnsafeMutablePointer<Atomic<UInt>>
  let count: Int

  init(count: Int) {
    precondition(count > 0)
    // As above: there is nobody who could go on without it.
    guard let memory = unsafe calloc(count, 8) else { fatalError("out of memory for \(count) rows") }
    unsafe rows = memory.bindMemory(to: Atomic<UInt>.self, capacity: count)
    self.count = count
  }

  func free() {
    for index in 0..<count { existing(index)?.free() }
    unsafe Glibc.free(rows)
  }

  /// The row at `index`, made if need be; for the one thread that owns the table.
  @inline(__always)
  func row(_ index: Int) -> CounterMemory {
    precondition(index >= 0 && index < count)
    let address = unsafe rows[index].load(ordering: .relaxed)
    return address == 0 ? make(index) : CounterMemory(address: address, count: Columns.count)
  }

  /// The row at `index` if it was ever written, on any thread.
  func existing(_ index: Int) -> CounterMemory? {
    precondition(index >= 0 && index < count)
    let address = unsafe rows[index].load(ordering: .acquiring)
    return address == 0 ? nil : CounterMemory(address: address, count: Columns.count)
  }

  @inline(never)
  private func make(_ index: Int) -> CounterMemory {
    let row = CounterMemory(count: Columns.count)
    unsafe rows[index].store(row.address, ordering: .releasing)
    return row
  }
}
