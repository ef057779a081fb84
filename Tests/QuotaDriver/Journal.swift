// What a node did, in a file that it shares with whoever watches it and that outlives it: a killed process takes nothing
// back that it has written. It writes each admission down before it does anything else with it.

import Glibc

/// A number of a journal's head.
enum JournalNumber: Int {
  /// Records that are complete.
  case records
  /// Decisions, those that were denied from memory (there is no record of them), and all others that were denied.
  case decisions, deniedFromMemory, denied
  /// Questions that nobody could answer.
  case unavailable
  /// The longest time between question and answer, in microseconds, and how many took more than 15 ms.
  case slowest, slow
  /// ``SharedQuotaStatistics``.
  case calls, items, recalls, openings, leased, returned, spent
  /// Whether the node has begun: all its lanes were open.
  case isReady
  /// Written by the watcher: the limit that holds instead of the given one; 0: none.
  case limit
  /// Written by the watcher: 1 to ask for nothing more.
  case isPaused
}

/// Something that a node did. Times are microseconds since 1970, as Redis counts them.
struct JournalRecord {
  enum Kind: UInt8 { case admitted, denied, unavailable, lease }

  /// Just before the question and just after the answer.
  var asked: Int64
  var answered: Int64
  var kind: Kind
  /// ``LimitSource``, by its place among all cases.
  var source: UInt8
  var limit: UInt16
  /// When the exchange was over, just before its slots were given back; 0 where it was not.
  var ended: Int64
}

/// Where records lie in a journal's file: words of 64 bits.
enum JournalLayout {
  static let headWords = 64
  static let recordWords = 4
  static let capacity = 1 << 20
  static let byteCount = (headWords + recordWords * capacity) * 8

  /// The word where a record begins.
  static func word(of place: Int) -> Int { headWords + place * recordWords }

  static func words(of record: JournalRecord) -> InlineArray<4, UInt64> {
    [
      UInt64(bitPattern: record.asked), UInt64(bitPattern: record.answered),
      UInt64(record.kind.rawValue) | UInt64(record.source) << 8 | UInt64(record.limit) << 16,
      UInt64(bitPattern: record.ended),
    ]
  }

  static func record(_ word: (Int) -> UInt64) -> JournalRecord {
    JournalRecord(
      asked: Int64(bitPattern: word(0)), answered: Int64(bitPattern: word(1)),
      kind: JournalRecord.Kind(rawValue: UInt8(truncatingIfNeeded: word(2))) ?? .unavailable,
      source: UInt8(truncatingIfNeeded: word(2) >> 8), limit: UInt16(truncatingIfNeeded: word(2) >> 16),
      ended: Int64(bitPattern: word(3)))
  }
}

/// A journal, mapped. One thread of one process writes it; another process reads it, and writes the numbers that are its
/// own. Safe: places are below the capacity, and words are written whole.
@safe
final class Journal {
  private let words: UnsafeMutablePointer<UInt64>

  /// Makes the file at `path`, or stops the process.
  init(path: String) {
    let descriptor = unsafe open(path, O_RDWR | O_CREAT, 0o600)
    guard descriptor >= 0, ftruncate(descriptor, JournalLayout.byteCount) == 0,
      let memory = unsafe mmap(nil, JournalLayout.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
      unsafe memory != MAP_FAILED
    else { fatalError("no journal at \(path)") }
    close(descriptor)
    unsafe words = memory.bindMemory(to: UInt64.self, capacity: JournalLayout.byteCount / 8)
  }

  deinit { unsafe munmap(words, JournalLayout.byteCount) }

  subscript(number: JournalNumber) -> Int {
    get { unsafe Int(truncatingIfNeeded: words[number.rawValue]) }
    set { unsafe words[number.rawValue] = UInt64(newValue) }
  }

  /// Writes a record down; returns its place.
  func append(_ record: JournalRecord) -> Int {
    let place = self[.records]
    precondition(place < JournalLayout.capacity, "the journal is full")
    let values = JournalLayout.words(of: record)
    // Within the mapping: the place is below the capacity.
    for index in 0..<JournalLayout.recordWords {
      unsafe words[JournalLayout.word(of: place) + index] = values[index]
    }
    self[.records] = place + 1
    return place
  }

  /// The exchange of the record at `place` is over.
  func end(_ place: Int, at moment: Int64) {
    unsafe words[JournalLayout.word(of: place) + 3] = UInt64(moment)
  }

  /// The record at `place`, below the number of records.
  func record(at place: Int) -> JournalRecord {
    precondition(place < self[.records])
    return JournalLayout.record { unsafe words[JournalLayout.word(of: place) + $0] }
  }
}
