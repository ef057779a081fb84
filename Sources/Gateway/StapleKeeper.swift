// OCSP responses that are fetched: the control loop asks the authorities, keeps what they say as long as it holds, and hands
// it to the loops with the certificates. Nothing waits for it: a certificate without an answer is shown without.

import Core
import Crypto
import Pipeline

/// Asks the authorities of the certificates that want it.
struct StapleKeeper {
  /// From the look-up of a responder's name to the end of its answer, in nanoseconds.
  private static let timeout: Int64 = 10_000_000_000

  /// One certificate.
  struct Entry {
    let credential: TLSCredential
    /// What people call it: the path of its file.
    let name: String
    fileprivate let inquiry: OCSPInquiry
    fileprivate var clock: StapleClock
    /// What the authority has said last, and is shown; nil for nothing.
    fileprivate(set) var staple: OCSPStaple?
    /// Why the last question has brought nothing; nil where it has.
    fileprivate(set) var fault: String?
    /// The present question; 0 for none.
    fileprivate var question: UInt32 = 0
  }

  private let world: any World
  private(set) var entries: [Entry] = []
  /// How often what is known of a certificate has changed.
  private(set) var changes: UInt64 = 0
  private var lastQuestion: UInt32 = 0
  /// Whether something else is to be shown than when ``takeNews()`` was last called.
  private var hasNews = false

  init(world: any World) { self.world = world }

  /// Goes on with these certificates; what is known of those that were there before stays known.
  mutating func adopt(_ wanted: [(name: String, credential: TLSCredential)]) {
    var kept: [Entry] = []
    for (name, credential) in wanted {
      if kept.contains(where: { $0.credential.isSame(as: credential) }) { continue }
      if let known = entries.first(where: { $0.credential.isSame(as: credential) && $0.name == name }) {
        kept.append(known)
      } else if let inquiry = try? OCSPInquiry(credential) {
        kept.append(
          Entry(credential: credential, name: name, inquiry: inquiry, clock: StapleClock(now: world.now)))
      }
    }
    entries = kept
  }

  /// What is shown with a certificate; empty for nothing.
  func staple(for credential: TLSCredential) -> [UInt8] {
    entries.first { $0.credential.isSame(as: credential) }?.staple?.bytes ?? []
  }

  /// Whether something else is to be shown than at the last call.
  mutating func takeNews() -> Bool {
    defer { hasNews = false }
    return hasNews
  }

  /// Does what is due; returns when there is more. `begin` says whether it could begin a fetch, whose outcome goes to
  /// ``answered(_:_:report:)``.
  mutating func advance(report: (String) -> Void, begin: (FetchRequest, UInt32) -> Bool) -> Instant {
    var next = Instant.never
    for index in entries.indices {
      if entries[index].clock.endsAt <= world.now {
        drop(index)
        report("\(entries[index].name): the OCSP response has ended, and there is no other")
      }
      if entries[index].question == 0, entries[index].clock.asksAt <= world.now { ask(index, report, begin) }
      next = min(next, entries[index].clock.endsAt)
      if entries[index].question == 0 { next = min(next, entries[index].clock.asksAt) }
    }
    return next
  }

  private mutating func ask(_ index: Int, _ report: (String) -> Void, _ begin: (FetchRequest, UInt32) -> Bool) {
    let inquiry = entries[index].inquiry
    guard let url = FetchURL(inquiry.responder, allowsPlain: true) else {
      return fail(index, "its responder has no address", report)
    }
    lastQuestion = lastQuestion == .max ? 1 : lastQuestion + 1
    entries[index].question = lastQuestion
    let fields = [
      FetchField("Accept", "application/ocsp-response"), FetchField("Content-Type", "application/ocsp-request"),
    ]
    let request = FetchRequest(
      url, method: .post, fields: fields, body: inquiry.request, timeoutNanoseconds: Self.timeout)
    if !begin(request, lastQuestion) { fail(index, "too many fetches wait", report) }
  }

  /// What became of a question.
  mutating func answered(_ question: UInt32, _ outcome: FetchOutcome, report: (String) -> Void) {
    guard question != 0, let index = entries.firstIndex(where: { $0.question == question }) else { return }
    switch outcome {
    case .failed(let reason): fail(index, reason, report)
    case .answered(200, _, let body):
      do throws(TLSFault) {
        switch try entries[index].inquiry.judge(body, at: world.wallTime) {
        case .good(let staple): answered(index, staple, report)
        case .bad(let status):
          // What was said before does not hold any more.
          if entries[index].staple != nil { drop(index) }
          fail(index, "its authority says that the certificate is \(status)", report)
        }
      } catch {
        fail(index, error.message, report)
      }
    case .answered(let status, _, _): fail(index, "the answer has status \(status)", report)
    }
  }

  private mutating func answered(_ index: Int, _ staple: OCSPStaple, _ report: (String) -> Void) {
    end(index)
    hasNews = hasNews || staple != entries[index].staple
    entries[index].staple = staple
    entries[index].clock.answered(staple, now: world.now, wallTime: world.wallTime)
    if entries[index].fault != nil { report("\(entries[index].name): its authority answers again") }
    entries[index].fault = nil
  }

  private mutating func fail(_ index: Int, _ reason: String, _ report: (String) -> Void) {
    end(index)
    entries[index].clock.failed(now: world.now, random: world.random())
    guard entries[index].fault != reason else { return }
    entries[index].fault = reason
    let rest =
      entries[index].staple != nil
      ? "; the last one is shown as long as it holds"
      : entries[index].credential.mustStaple ? "; clients that insist on one refuse the certificate" : ""
    report("\(entries[index].name): no OCSP response: \(reason)\(rest)")
  }

  private mutating func drop(_ index: Int) {
    changes += 1
    entries[index].staple = nil
    entries[index].clock.dropped()
    hasNews = true
  }

  private mutating func end(_ index: Int) {
    changes += 1
    entries[index].question = 0
  }
}
