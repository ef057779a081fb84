// What a node is about to run is on its disk before it runs: whatever crashes then, the node comes back with it. A disk that
// is full, or does not answer, keeps nobody from following the cluster: the node runs the revision all the same, and says in
// its ack and in its sign of life that it is not kept.

import Core

extension RevisionKeeper {
  /// How long a disk may take before the node goes on without it, in nanoseconds.
  static let diskPatience: Int64 = 2_000_000_000

  /// Runs something with the keeper on the thread that it belongs to, from any thread.
  public typealias Delivery = @Sendable (_ action: @escaping @Sendable (RevisionKeeper) -> Void) -> Void

  /// A candidate that is being written.
  struct Filing {
    let serial: UInt64
    let candidate: RevisionCandidate
    /// Whether nothing changes but the head: its body runs already.
    let isRunning: Bool
    let deadline: Int64
  }

  /// Writes `candidate`, which compiles, to the disk; the event ``AgentEvent/kept(_:)`` says that this is over, however it
  /// ended. Not while a write lasts that the disk takes its time for.
  public func keep(_ candidate: RevisionCandidate) { keep(candidate, isRunning: false) }

  func keep(_ candidate: RevisionCandidate, isRunning: Bool) {
    filed = candidate.head
    filings.serial += 1
    let serial = filings.serial
    let deadline = context.clock() + Self.diskPatience
    filings.pending.append(Filing(serial: serial, candidate: candidate, isRunning: isRunning, deadline: deadline))
    write(candidate, serial)
  }

  /// Writes `candidate` without telling anybody.
  func file(_ candidate: RevisionCandidate) {
    filings.serial += 1
    write(candidate, filings.serial)
  }

  /// One is written at a time. Of those that come meanwhile the newest alone is written: it stands for the others too.
  private func write(_ candidate: RevisionCandidate, _ serial: UInt64) {
    guard let shelf else { return kept(serial, nil) }
    guard !filings.isWriting else { return filings.next = (candidate, serial) }
    filings.isWriting = true
    let revision = candidate.head.head.revision
    guard let deliver else {
      shelf.keep(candidate.lastGood, revision: revision) { _ in }
      return written(serial, nil)
    }
    shelf.keep(candidate.lastGood, revision: revision) { fault in
      deliver { keeper in keeper.written(serial, fault) }
    }
  }

  private func written(_ serial: UInt64, _ fault: String?) {
    filings.isWriting = false
    kept(serial, fault)
    guard let (candidate, serial) = filings.next else { return }
    filings.next = nil
    write(candidate, serial)
  }

  /// It is over with everything that was to be kept up to a number.
  private func kept(_ serial: UInt64, _ fault: String?) {
    while let filing = filings.pending.first, filing.serial <= serial {
      filings.pending.removeFirst()
      filings.fault = fault
      if filing.isRunning { adopted(filing.candidate) } else { context.emit(.kept(filing.candidate)) }
    }
  }

  /// Goes on without a disk that does not answer; returns when to look again.
  func advanceFilings(_ moment: Int64) -> Int64 {
    while let first = filings.pending.first, first.deadline <= moment {
      let fault = "the disk has not answered for \(Self.diskPatience / 1_000_000_000) s"
      context.remark("the revision is in force, but perhaps not kept over a restart: \(fault)")
      kept(first.serial, fault)
    }
    return filings.pending.first?.deadline ?? .max
  }

  /// What the ack of a revision says that is in force: nothing, or that it is not on the disk.
  var remarkOnKeeping: String { filings.fault.map { "not kept over a restart: \($0)" } ?? "" }
}

/// What is on its way to the disk.
struct RevisionFilings {
  var serial: UInt64 = 0
  var pending: [RevisionKeeper.Filing] = []
  var isWriting = false
  /// What is to be written then, with its number.
  var next: (candidate: RevisionCandidate, serial: UInt64)?
  /// What was wrong with the last write; nil for nothing.
  var fault: String?
}
