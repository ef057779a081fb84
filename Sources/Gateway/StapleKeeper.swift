// OCSP responses that are fetched: the control loop asks the authorities, keeps what they say as long as it holds, and hands
// it to the loops with the certificates. Nothing waits for it: a certificate without an answer is shown without.

import Core
import Crypto

/// Asks the authorities of the certificates that want it.
struct StapleKeeper {
  /// Requests at the same time.
  private static let fetchLimit = 16
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
    fileprivate var fetch: HTTPFetch?
    /// When the present question has failed; never where there is none.
    fileprivate var deadline = Instant.never
    /// Tells the present question from all others.
    fileprivate var generation: UInt32 = 0
  }

  private let world: any World
  private(set) var entries: [Entry] = []
  /// How often what is known of a certificate has changed.
  private(set) var changes: UInt64 = 0
  private var generation: UInt32 = 0
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
    for entry in entries where !kept.contains(where: { $0.generation == entry.generation }) { entry.fetch?.close() }
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

  /// Does what is due; returns when there is more. `look` is to have a name looked up: the answer goes to ``resolved(_:_:)``.
  mutating func advance(
    report: (String) -> Void, look: (_ host: String, _ generation: UInt32) -> Void
  ) -> Instant {
    var next = Instant.never
    var running = entries.count { $0.deadline != .never }
    for index in entries.indices {
      if entries[index].deadline <= world.now { fail(index, "it took too long", report) }
      if entries[index].clock.endsAt <= world.now {
        drop(index)
        report("\(entries[index].name): the OCSP response has ended, and there is no other")
      }
      if entries[index].deadline == .never, entries[index].clock.asksAt <= world.now, running < Self.fetchLimit {
        running += 1
        begin(index, look)
      }
      next = min(next, entries[index].clock.endsAt, entries[index].deadline)
      if entries[index].deadline == .never, running < Self.fetchLimit { next = min(next, entries[index].clock.asksAt) }
    }
    return next
  }

  private mutating func begin(_ index: Int, _ look: (String, UInt32) -> Void) {
    generation &+= 1
    entries[index].generation = generation
    entries[index].deadline = world.now.advanced(byNanoseconds: Self.timeout)
    if let target = FetchTarget(url: entries[index].inquiry.responder) { look(target.host, generation) }
  }

  /// What the name of a responder stands for; nil where that could not be found out.
  mutating func resolved(_ generation: UInt32, _ addresses: [IPAddress]?, report: (String) -> Void) {
    guard let index = entries.firstIndex(where: { $0.generation == generation && $0.deadline != .never }) else {
      return
    }
    let inquiry = entries[index].inquiry
    guard let address = addresses?.first, let target = FetchTarget(url: inquiry.responder) else {
      return fail(index, "its responder has no address", report)
    }
    let head =
      "POST \(target.path) HTTP/1.1\r\nHost: \(target.authority)\r\nUser-Agent: sluice\r\nAccept: application/ocsp-response\r\n"
      + "Content-Type: application/ocsp-request\r\nContent-Length: \(inquiry.request.count)\r\nConnection: close\r\n\r\n"
    do throws(NetworkError) {
      entries[index].fetch = try HTTPFetch(
        world, to: .ip(address, port: target.port), token: Token(.client, 0, generation: generation).rawValue,
        Array(head.utf8) + inquiry.request)
    } catch { fail(index, "no connection: \(error)", report) }
  }

  /// An event of a question's connection.
  mutating func ready(_ token: Token, report: (String) -> Void) {
    let found = entries.firstIndex { $0.fetch != nil && token.matches(generation: $0.generation) }
    guard let index = found, let progress = entries[index].fetch?.ready() else { return }
    switch progress {
    case .running: return
    case .failed(let reason): fail(index, reason, report)
    case .done(let body):
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
    entries[index].fetch?.close()
    entries[index].fetch = nil
    entries[index].deadline = .never
  }
}
