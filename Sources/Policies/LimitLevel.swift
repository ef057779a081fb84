import Core
import HTTP
import Pipeline

/// One limit of a `rate-limit` policy, ready to be asked about.
struct LimitLevel: Sendable {
  /// The counter's name as far as the limit goes. It depends on what is counted and on the kind and length of the limit,
  /// not on its numbers: a limit that is raised keeps what has been used.
  private(set) var identity: QuotaKey
  /// What is counted, one part at least.
  let parts: ContiguousArray<LimitPart>
  let rule: LimitRule
  let cost: Int64
  private let calendar: CivilCalendar?
  /// The name in the fields `RateLimit` and `RateLimit-Policy`, and in the log.
  private(set) var name: String
  /// Whether the client is told about it.
  var isTold = true
  /// How a shared store keeps it.
  let terms: LimitTerms

  /// What tells counters of different limits apart.
  private let identityParts: [String]

  /// The windows of a fixed or sliding limit.
  enum Algorithm: String, CaseIterable { case fixed, sliding }

  /// Reads one limit; nil after an error.
  init?(_ options: inout OptionReader, instance: String, terms: LimitTerms) {
    self.terms = terms
    let words = options.valueList(
      "per", OptionFormat("something that can be counted", example: "consumer"), isRequired: true, allowsSingle: true,
      "What is counted: consumer, key, tenant, group, route, ip, header:NAME, claim:NAME, or an array of them for a "
        + "combined key."
    ) { LimitPart($0) == nil ? nil : $0 }
    let parts = ContiguousArray(words.compactMap { LimitPart($0) })
    let name = options.optionalString(
      "name", "The limit's name in RateLimit fields and the log; by default what is counted.")
    cost = options.integer("cost", in: 1...(1 << 31), default: 1, "Units that one request takes.")
    let reading = LimitRuleReader(&options)
    guard let rule = reading.rule, !parts.isEmpty else { return nil }
    if cost > rule.limit {
      options.fail(
        "no request would ever pass: it costs \(cost), and the limit is \(rule.limit)", at: "cost",
        fix: "lower the cost or raise the limit")
      return nil
    }
    if let name, !Self.isName(name) {
      options.fail("\"\(name)\" cannot stand in a field", at: "name", fix: "use letters, digits, \"-\", \"_\", \".\"")
      return nil
    }
    self.parts = parts
    self.rule = rule
    calendar = reading.calendar
    self.name = name ?? words.map { $0.replacing(":", with: "-").lowercased() }.joined(separator: "+")
    identityParts = [instance, words.joined(separator: "+"), reading.kind]
    identity = Self.identity(identityParts, 0)
    nominalSeconds = reading.nominalSeconds
  }

  /// The length that clients are told, in seconds; nil for concurrency.
  let nominalSeconds: Int64?

  /// The policy that it belongs to, and what is counted, as the configuration says them.
  var policy: String { identityParts[0] }
  var subjects: String { identityParts[1] }

  static func isName(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 64
      && text.utf8.allSatisfy {
        ($0 | 32) >= 97 && ($0 | 32) <= 122 || $0 >= 48 && $0 <= 57 || $0 == 45 || $0 == 46 || $0 == 95
      }
  }

  private static func identity(_ parts: [String], _ ordinal: Int) -> QuotaKey {
    QuotaKey(configured: "limit", parts[0], parts[1], parts[2], String(ordinal))
  }

  /// Gives it a counter and a name of its own among the limits `before` it.
  mutating func distinguish(from before: some Collection<LimitLevel>) {
    identity = Self.identity(identityParts, before.filter { $0.identityParts == identityParts }.count)
    let base = name
    var number = 2
    while before.contains(where: { $0.name == name }) {
      name = "\(base)-\(number)"
      number += 1
    }
  }

  /// The item of `RateLimit-Policy`.
  var policyItem: String {
    guard let nominalSeconds else { return "\"\(name)\";q=\(rule.limit);qu=\"concurrent-requests\"" }
    return "\"\(name)\";q=\(rule.limit);w=\(nominalSeconds)"
  }

  /// Whether it counts the requests of one consumer in each month: what a price by request goes by.
  var countsMonth: Bool { cost == 1 && subjects == "consumer" && identityParts[2].hasPrefix("calendar:month:") }

  /// Whether it limits requests at the same time.
  var isConcurrency: Bool { nominalSeconds == nil }

  /// What is counted, where that is one thing, no field of the request, and not in periods of a calendar.
  var plainSubject: Subject? { parts.count == 1 && calendar == nil ? parts[0].plainSubject : nil }

  /// Whether what is counted belongs to one consumer: a part says so that two consumers of different tenants never share.
  var isConsumers: Bool { parts.contains { $0.isConsumers } }

  /// The counter of this limit that a request draws on.
  func key(_ caller: Caller, _ request: RequestHead?, _ services: Services) -> QuotaKey {
    var key = identity
    for part in parts { key = key.combined(with: part.key(caller, request, services)) }
    return key
  }

  /// The question about this limit that a request of `caller` asks.
  func question(_ caller: Caller, _ request: RequestHead?, _ services: Services, _ civil: WallTime) -> QuotaLevel {
    QuotaLevel(
      key: key(caller, request, services), rule: rule, cost: cost, period: period(at: civil), terms: terms,
      owner: isConsumers ? services.owner(ofConsumer: caller.consumer) : nil)
  }

  /// The calendar period at `civil`; nothing for other kinds.
  func period(at civil: WallTime) -> CivilPeriod {
    calendar?.period(at: civil) ?? CivilPeriod(start: civil, end: civil)
  }
}

/// One part of what a limit counts.
struct LimitPart: Sendable {
  private enum Kind: Sendable {
    case subject(Subject)
    case field(FieldSelector)
    case claim(ClaimPath)
  }

  private let kind: Kind

  /// What is counted, where that is neither a field of the request nor a claim.
  var plainSubject: Subject? { if case .subject(let subject) = kind { subject } else { nil } }

  /// Whether consumers of different tenants never share it.
  var isConsumers: Bool {
    guard let subject = plainSubject else { return false }
    return subject == .consumer || subject == .key || subject == .tenant
  }

  /// What stands behind `per`; nil for what cannot be counted.
  init?(_ word: String) {
    if word.hasPrefix("header:") {
      guard let field = FieldSelector(String(word.dropFirst(7))) else { return nil }
      kind = .field(field)
      return
    }
    if word.hasPrefix("claim:") {
      guard let claim = ClaimPath(String(word.dropFirst(6))) else { return nil }
      kind = .claim(claim)
      return
    }
    switch word {
    case "consumer": kind = .subject(.consumer)
    case "key": kind = .subject(.key)
    case "tenant": kind = .subject(.tenant)
    case "group": kind = .subject(.group)
    case "route": kind = .subject(.route)
    case "ip": kind = .subject(.address)
    default: return nil
    }
  }

  /// Whether it is known what this part is for somebody of whom not everything may be known.
  func isKnown(_ candidate: LimitCandidate, _ services: Services) -> Bool {
    switch kind {
    case .subject(let subject): candidate.isAddressKnown || services.isNamed(subject, candidate.caller)
    case .field(let field):
      candidate.request.map { candidate.isAddressKnown || field.firstIndex(in: $0) != nil } ?? false
    case .claim(let claim):
      candidate.isAddressKnown || candidate.caller.identity.map { claim.text(in: $0) != nil } ?? false
    }
  }

  /// What this part is for a request. One without the field or the claim is counted by address.
  func key(_ caller: Caller, _ request: RequestHead?, _ services: Services) -> QuotaKey {
    switch kind {
    case .subject(let subject): return services.key(of: subject, caller)
    case .field(let field):
      if let request, let index = field.firstIndex(in: request) {
        return services.key(ofChosen: request.value(of: index))
      }
    case .claim(let claim):
      // Who vouches for it is part of it: another issuer may say the same of somebody else.
      if let identity = caller.identity, let text = claim.text(in: identity) {
        return services.key(ofChosen: RawSpan(Array((identity.issuer ?? "").utf8) + [0xff] + Array(text.utf8)))
      }
    }
    return services.key(of: .address, caller)
  }
}

/// Reads how limits are kept, or that they only watch.
struct LimitTermsReader {
  /// The option `mode`.
  private enum Mode: String, CaseIterable {
    case auto, exact, leased, strict, shadow
  }

  let terms: LimitTerms
  /// Whether they only watch.
  let isShadow: Bool

  init(_ options: inout OptionReader) {
    let mode = options.choice(
      "mode", default: Mode.auto,
      "Exact asks a shared store about every request, leased admits from slices that the node holds, auto changes by "
        + "traffic; strict is exact, and waits until a replica of the store has what was taken; shadow counts as auto does "
        + "and refuses nobody.")
    isShadow = mode == .shadow
    let chosen = options.optionalChoice(
      "onStoreFailure", as: OutageRule.self,
      "While a shared store is away: each node's share (the default), everything, or 503 (strict knows nothing else).")
    if mode == .strict, let chosen, chosen != .closed {
      options.fail(
        "what is strict cannot be \(chosen.rawValue)", at: "onStoreFailure", fix: "remove it, or the mode")
    }
    let failure = chosen ?? (mode == .strict ? .closed : .local)
    terms = LimitTerms(mode: LimitMode(rawValue: mode.rawValue) ?? .auto, outage: failure)
  }
}

/// Reads which kind of limit it is, and its numbers.
struct LimitRuleReader {
  private(set) var rule: LimitRule?
  private(set) var calendar: CivilCalendar?
  private(set) var nominalSeconds: Int64?
  /// Kind and length, as they go into the counter's name.
  private(set) var kind = ""

  /// The most units a second: one every 100 ns.
  static let maximumRate: Int64 = 10_000_000

  init(_ options: inout OptionReader) {
    let rateFormat = OptionFormat("a rate", example: "100/s")
    let quotaFormat = OptionFormat("a quota", example: "100000/day")
    let windowFormat = OptionFormat("a window", example: "20000/1m")
    let rate = options.optionalValue(
      "rate", rateFormat, "Units in the mean (GCRA), 1/day to 10000000/s: \"100/s\", \"1000/1m\"."
    ) { LimitText($0) }
    let burst = options.optionalInteger(
      "burst", in: 1...LimitText.maximumUnits, "Units that a rate admits at once; by default the number of the rate.")
    let window = options.optionalValue(
      "window", windowFormat, "Units in a window, 1s to 366d: \"20000/1m\"."
    ) { LimitText($0) }
    let algorithm = options.choice(
      "algorithm", default: Algorithm.fixed, "Whether windows stand side by side or slide.")
    let quota = options.optionalValue(
      "quota", quotaFormat, "Units in a calendar period: minute, hour, day, week, month, year."
    ) { LimitText($0) }
    let zone = options.string("timezone", default: "UTC", "The IANA time zone in which a quota's periods begin.")
    let slots = options.optionalInteger(
      "concurrency", in: 1...1_000_000, "Requests that may run at the same time.")
    let given = ["rate", "window", "quota", "concurrency"].filter { options.has($0) }
    if given.count != 1 && !options.isDescribing {
      options.fail(
        given.isEmpty ? "no limit is given" : "\(given.joined(separator: " and ")) exclude each other",
        at: given.dropFirst().first ?? "per", fix: "give one of rate, window, quota, concurrency")
      return
    }
    if burst != nil && rate == nil && !options.hasFailed("rate") {
      options.fail("a burst belongs to a rate", at: "burst", fix: "remove it")
    }
    if let rate { readRate(&options, rate, burst) }
    if let window { readWindow(&options, window, algorithm) }
    if let quota { readQuota(&options, quota, zone) }
    if let slots {
      rule = .concurrency(limit: slots)
      kind = "concurrency"
      if options.has("cost") {
        options.fail("a request takes one slot", at: "cost", fix: "remove it")
      }
    }
  }

  typealias Algorithm = LimitLevel.Algorithm

  private mutating func readRate(_ options: inout OptionReader, _ text: LimitText, _ burst: Int64?) {
    guard let span = text.duration, span.wholeNanoseconds > 0, span <= .seconds(366 * 86_400) else {
      options.fail("\"\(text.span)\" is not a span of time", at: "rate", fix: "write it like \"100/s\" or \"10/1m\"")
      return
    }
    let nanoseconds = span.wholeNanoseconds
    // Rounded up, so that the rate is never exceeded.
    let interval = nanoseconds / text.units + (nanoseconds % text.units > 0 ? 1 : 0)
    guard nanoseconds / text.units >= 1_000_000_000 / Self.maximumRate else {
      options.fail("the rate is too high", at: "rate", fix: "write at most \(Self.maximumRate)/s")
      return
    }
    let burst = burst ?? text.units
    let (tolerance, overflow) = burst.multipliedReportingOverflow(by: interval)
    guard !overflow && tolerance < 1 << 62 else {
      options.fail("the burst is more than 146 years of the rate", at: "burst", fix: "write a smaller one")
      return
    }
    rule = LimitRule.rate(interval: interval, burst: burst)
    nominalSeconds = max(1, (tolerance + 999_999_999) / 1_000_000_000)
    kind = "rate"
  }

  private mutating func readWindow(_ options: inout OptionReader, _ text: LimitText, _ algorithm: Algorithm) {
    guard let span = text.duration, span >= .seconds(1), span <= .seconds(366 * 86_400) else {
      options.fail("\"\(text.span)\" is not a span of 1s to 366d", at: "window", fix: "write it like \"20000/1m\"")
      return
    }
    let length = span.wholeNanoseconds / 1000
    if algorithm == .sliding {
      guard text.units <= UInt32.max else {
        options.fail("a sliding window counts to \(UInt32.max)", at: "window", fix: "write a smaller limit")
        return
      }
      rule = .sliding(limit: text.units, lengthMicroseconds: length)
    } else {
      rule = .window(limit: text.units, lengthMicroseconds: length)
    }
    nominalSeconds = (length + 999_999) / 1_000_000
    kind = "\(algorithm.rawValue):\(length)"
  }

  private mutating func readQuota(_ options: inout OptionReader, _ text: LimitText, _ zone: String) {
    guard let unit = text.calendarUnit else {
      options.fail(
        "\"\(text.span)\" is not a calendar period", at: "quota",
        fix: Suggestion.fix(
          text.span, among: CalendarUnit.allCases.map(\.rawValue),
          otherwise: "write minute, hour, day, week, month or year"))
      return
    }
    do throws(TimeZoneFiles.Fault) {
      calendar = CivilCalendar(unit, in: try TimeZoneFiles.table(named: zone))
      rule = .calendar(limit: text.units)
      nominalSeconds = unit.nominalSeconds
      kind = "calendar:\(unit.rawValue):\(zone)"
    } catch {
      switch error {
      case .unknown:
        options.fail(
          "there is no time zone \"\(zone)\"", at: "timezone", fix: "write an IANA name like \"Europe/Berlin\"")
      case .noDatabase:
        options.fail("this system has no time zones", at: "timezone", fix: "install tzdata, or write \"UTC\"")
      case .malformed:
        options.fail("the table of \"\(zone)\" cannot be read", at: "timezone", fix: "reinstall tzdata")
      }
    }
  }
}
