// The keys of issuers: the control loop fetches them ahead of time, keeps the last good ones while an issuer is down,
// and hands each loop what is new. Nothing waits for it but requests whose tokens name keys that nobody knows, for
// seconds.

import Core
import Crypto
import Pipeline

/// Asks the issuers that a configuration names.
struct IssuerKeeper {
  /// From a question to the end of its answer, in nanoseconds, for each of the two that there may be.
  static let timeout: Int64 = 10_000_000_000
  /// How long requests wait for an answer that is under way, in nanoseconds: they may not be parked for longer than
  /// five seconds.
  static let patience: Int64 = 4_000_000_000
  /// Names of keys that one line says.
  private static let namesShown = 16

  /// One issuer.
  struct Entry {
    let source: KeySource
    fileprivate(set) var keys: IssuerKeys?
    /// Why the last question has brought nothing; nil where it has.
    fileprivate(set) var fault: String?
    /// Questions that brought keys, and those that did not.
    fileprivate(set) var successes: UInt64 = 0
    fileprivate(set) var failures: UInt64 = 0
    fileprivate var clock: IssuerClock
    /// The present question; 0 for none.
    fileprivate var question: UInt32 = 0
    /// Whether it is the one where the keys are.
    fileprivate var isDiscovering = false
    /// Where the keys were last; nil where that is to be found out.
    fileprivate var keysURL: FetchURL?
    /// When that was found out.
    fileprivate var discoveredAt = Instant.never
    /// The text of the keys.
    fileprivate var digest: Digest?
    /// When those who wait are called although there is no answer; never where nobody waits.
    fileprivate var callsAt = Instant.never

    /// What the admin port says of it.
    var facts: IssuerFacts {
      IssuerFacts(
        issuer: source.name, keys: keys?.keys.keys.count ?? 0, fetchedAt: keys?.fetchedAt, fault: fault,
        successes: successes, failures: failures)
    }
  }

  private let world: any World
  private(set) var entries: [Entry] = []
  private var lastQuestion: UInt32 = 0
  private var news: [IssuerNews] = []
  /// Whether something else is known than when ``takeChange()`` was last called.
  private var hasChanged = false

  init(world: any World) { self.world = world }

  /// Goes on with these issuers; what is known of those that were there before stays known.
  mutating func adopt(_ wanted: [KeySource]) {
    var seen: Set<KeySource> = []
    let sources = wanted.filter { seen.insert($0).inserted }
    let known = Dictionary(uniqueKeysWithValues: entries.map { ($0.source, $0) })
    for entry in entries where !seen.contains(entry.source) { tellGone(entry.source) }
    if sources != entries.map(\.source) { hasChanged = true }
    entries = sources.map { known[$0] ?? Entry(source: $0, clock: IssuerClock(now: world.now)) }
  }

  /// Whether something else is known of an issuer than at the last call.
  mutating func takeChange() -> Bool {
    defer { hasChanged = false }
    return hasChanged
  }

  /// What loops have to be told.
  mutating func takeNews() -> [IssuerNews] {
    defer { news = [] }
    return news
  }

  /// A loop misses keys of an issuer, or one of them.
  mutating func ask(_ source: KeySource) {
    guard let index = entries.firstIndex(where: { $0.source == source }) else { return tellGone(source) }
    if entries[index].question != 0 || entries[index].clock.isMissed(now: world.now) {
      let callsAt = world.now.advanced(byNanoseconds: Self.patience)
      entries[index].callsAt = min(entries[index].callsAt, callsAt)
    } else {
      // The loop did not know yet that there has been an answer.
      tell(index)
    }
  }

  /// Does what is due; returns when there is more. `begin` says whether it could begin a fetch, whose outcome goes to
  /// ``answered(_:_:report:begin:)``.
  mutating func advance(report: (String) -> Void, begin: (FetchRequest, UInt32) -> Bool) -> Instant {
    var next = Instant.never
    for index in entries.indices {
      if entries[index].question == 0, entries[index].clock.asksAt <= world.now { question(index, report, begin) }
      if entries[index].callsAt <= world.now { tell(index) }
      next = min(next, entries[index].callsAt)
      if entries[index].question == 0 { next = min(next, entries[index].clock.asksAt) }
    }
    return next
  }

  /// Begins to ask. Who misses a key finds it where the keys were last, unless that was long ago: nobody can keep an
  /// issuer from moving them by inventing names.
  private mutating func question(
    _ index: Int, _ report: (String) -> Void, _ begin: (FetchRequest, UInt32) -> Bool
  ) {
    let source = entries[index].source
    let age = world.now.nanoseconds(since: entries[index].discoveredAt)
    let isRecent = age < IssuerClock.usualRest * 1_000_000_000
    let keysURL = isRecent && entries[index].callsAt != .never ? entries[index].keysURL : nil
    entries[index].isDiscovering = keysURL == nil && source.kind == .discovery
    guard let url = keysURL ?? FetchURL(source.url) else { return fail(index, "its address is not https", report) }
    fetch(index, url, report, begin)
  }

  private mutating func fetch(
    _ index: Int, _ url: FetchURL, _ report: (String) -> Void, _ begin: (FetchRequest, UInt32) -> Bool
  ) {
    lastQuestion = lastQuestion == .max ? 1 : lastQuestion + 1
    entries[index].question = lastQuestion
    let request = FetchRequest(
      url, fields: [FetchField("Accept", "application/json, application/jwk-set+json")],
      authorities: entries[index].source.authorities, timeoutNanoseconds: Self.timeout)
    if !begin(request, lastQuestion) { fail(index, "too many fetches wait", report) }
  }

  /// What became of a question.
  mutating func answered(
    _ question: UInt32, _ outcome: FetchOutcome, report: (String) -> Void, begin: (FetchRequest, UInt32) -> Bool
  ) {
    guard question != 0, let index = entries.firstIndex(where: { $0.question == question }) else { return }
    guard case .answered(let status, let fields, let body) = outcome else {
      if case .failed(let reason) = outcome { fail(index, reason, report) }
      return
    }
    guard status == 200 else { return fail(index, "the answer has status \(status)", report) }
    if entries[index].isDiscovering {
      let source = entries[index].source
      do throws(IssuerDocument.Fault) {
        let isSecure = FetchURL(source.url)?.isSecure ?? true
        let url = try IssuerDocument.keysURL(body, of: source, isSecure: isSecure)
        (entries[index].keysURL, entries[index].discoveredAt) = (url, world.now)
        entries[index].isDiscovering = false
        fetch(index, url, report, begin)
      } catch { fail(index, error.message, report) }
    } else {
      take(index, body, maxAge: IssuerDocument.maxAge(fields), report)
    }
  }

  private mutating func take(_ index: Int, _ body: [UInt8], maxAge: Int64?, _ report: (String) -> Void) {
    let (before, digest) = (entries[index].keys?.keys, SHA256().digest(of: RawSpan(body)))
    // Whoever has prepared something for a key finds the same one again.
    var keys = entries[index].digest == digest ? before : nil
    do throws(JSONWebKeyFault) { if keys == nil { keys = try JSONWebKeySet(body) } } catch {
      return fail(index, "its keys are of no use: \(error.message)", report)
    }
    guard let keys else { return }
    entries[index].digest = digest
    entries[index].keys = IssuerKeys(keys, fetchedAt: world.wallTime)
    entries[index].successes += 1
    entries[index].clock.answered(maxAge: maxAge, now: world.now, random: world.random())
    let name = entries[index].source.name
    if entries[index].fault != nil, before != nil { report("issuer \(name): it answers again") }
    entries[index].fault = nil
    if let line = Self.describe(keys, after: before) { report("issuer \(name): \(line)") }
    end(index)
  }

  private mutating func fail(_ index: Int, _ reason: String, _ report: (String) -> Void) {
    entries[index].failures += 1
    entries[index].clock.failed(now: world.now, random: world.random())
    entries[index].keysURL = nil
    let isNews = entries[index].fault == nil
    entries[index].fault = reason
    if isNews {
      let rest = entries[index].keys == nil ? "" : "; the last ones stay"
      report("issuer \(entries[index].source.name): its keys cannot be had: \(reason)\(rest)")
    }
    end(index)
  }

  private mutating func end(_ index: Int) {
    entries[index].question = 0
    entries[index].isDiscovering = false
    tell(index)
  }

  /// Lets loops know what there is; whoever waits is called.
  private mutating func tell(_ index: Int) {
    hasChanged = true
    entries[index].callsAt = .never
    let isUnderWay = entries[index].question != 0
    let soon = world.now.advanced(byNanoseconds: IssuerClock.firstRetry * 1_000_000_000)
    news.append(
      IssuerNews(
        entries[index].source, entries[index].keys,
        asksAgainAt: isUnderWay ? soon : entries[index].clock.asksAgainAt))
  }

  private mutating func tellGone(_ source: KeySource) {
    news.append(IssuerNews(source, nil, asksAgainAt: world.now, isGone: true))
  }

  // MARK: What people are told

  /// What has changed about keys; nil for nothing.
  private static func describe(_ keys: JSONWebKeySet, after before: JSONWebKeySet?) -> String? {
    if keys === before { return nil }
    let skipped = keys.skipped.isEmpty ? "" : "; left out: \(list(keys.skipped))"
    let names = names(keys)
    guard let before else { return "\(keys.keys.count) keys: \(list(names))\(skipped)" }
    let former = Self.names(before)
    let (added, removed) = (names.filter { !former.contains($0) }, former.filter { !names.contains($0) })
    if added.isEmpty, removed.isEmpty {
      return keys.skipped == before.skipped ? "keys have changed under the same names" : "keys have changed\(skipped)"
    }
    var parts: [String] = []
    if !added.isEmpty { parts.append("added \(list(added))") }
    if !removed.isEmpty { parts.append("removed \(list(removed))") }
    return "keys have changed: \(parts.joined(separator: "; "))\(skipped)"
  }

  private static func names(_ keys: JSONWebKeySet) -> [String] {
    keys.keys.map { $0.keyID.map { PrintableText.of($0) } ?? "one without a name" }
  }

  private static func list(_ texts: [String]) -> String {
    texts.prefix(namesShown).joined(separator: ", ")
      + (texts.count > namesShown ? " and \(texts.count - namesShown) more" : "")
  }
}
