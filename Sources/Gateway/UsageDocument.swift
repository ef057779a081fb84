import Core
import Pipeline
import Policies

/// Writes how limits stand, as JSON. The members are described in the README ("What callers see").
struct UsageDocument {
  let services: Services
  let routes: ContiguousArray<RoutePlan>
  /// The moment by which the counters were looked up.
  let civil: WallTime

  /// What is known of the subject, as members of the object that is open: consumer, tenant, key, node, time.
  func writeSubject(_ subject: UsageSubject, to json: inout JSONWriter) {
    if subject.consumer >= 0 {
      let consumer = services.consumer(subject.consumer)
      json.member("consumer", consumer.id)
      if let tenant = consumer.tenant { json.member("tenant", tenant) }
      let key = services.keyName(subject.key, of: subject.consumer, issued: subject.issuedKey)
      if let key { json.member("key", key) }
    }
    json.member("node", services.nodeName)
    json.member("time", CivilDate(civil).rfc3339)
  }

  /// A counter and how it stands; nil for one of which that is not known, for want of an address or a field.
  func write(
    _ counter: UsageSurvey.Counter, _ subject: UsageSubject, _ level: QuotaLevel?, _ source: LimitSource?,
    to json: inout JSONWriter
  ) {
    json.beginObject()
    writeOutline(counter.entry.outline, to: &json)
    let key = services.keyName(counter.key, of: subject.consumer, issued: subject.issuedKey)
    if let key { json.member("key", key) }
    json.key("routes")
    json.beginArray()
    for route in counter.routes { json.string(routes[Int(route)].id) }
    json.endArray()
    writeState(level, source, counter.entry.outline.rule, to: &json)
    json.endObject()
  }

  /// What a limit is, as members of the object that is open.
  func writeOutline(_ outline: LimitOutline, to json: inout JSONWriter) {
    json.member("name", outline.name)
    json.member("policy", outline.policy)
    json.member("per", outline.subjects)
    json.member("kind", outline.rule.kind)
    json.member("limit", outline.rule.limit)
    json.member("seconds", outline.seconds)
    json.member("cost", outline.cost)
    json.member("mode", outline.terms.mode.rawValue)
    json.member("onStoreFailure", outline.terms.outage.rawValue)
  }

  /// How a counter stands, as members of the object that is open.
  func writeState(_ level: QuotaLevel?, _ source: LimitSource?, _ rule: LimitRule, to json: inout JSONWriter) {
    json.member("source", level == nil ? nil : source?.rawValue)
    json.member("used", level.map { max(0, rule.limit - $0.remaining) })
    json.member("remaining", level?.remaining)
    json.key("exhausted")
    if let level { json.bool(level.isDenied) } else { json.null() }
    var reset = level?.resetNanoseconds
    // Nobody knows when a running request ends.
    if case .concurrency = rule { reset = nil }
    write("reset", reset == .max ? nil : reset, to: &json)
    write("forecast", level.flatMap { UsageForecast.nanoseconds($0, at: civil) }, to: &json)
  }

  /// A moment that is so far away: whole seconds, rounded up, and the moment itself.
  private func write(_ name: StaticString, _ nanoseconds: Int64?, to json: inout JSONWriter) {
    json.key(name)
    guard let nanoseconds else { return json.null() }
    let seconds = nanoseconds / 1_000_000_000 + (nanoseconds % 1_000_000_000 > 0 ? 1 : 0)
    let moment = civil.microseconds + nanoseconds / 1000
    json.beginObject()
    json.member("seconds", seconds)
    json.member("at", CivilDate(WallTime(microseconds: moment + 999_999)).rfc3339)
    json.endObject()
  }
}

extension LimitQuestion {
  /// Whether it is known how the levels stand.
  var isAnswered: Bool { decision == .admitted || decision == .denied }
}

extension LimitRule {
  /// The kind as the configuration and answers call it.
  var kind: String {
    switch self {
    case .rate: "rate"
    case .window: "window"
    case .sliding: "sliding"
    case .calendar: "calendar"
    case .concurrency: "concurrency"
    }
  }
}

extension JSONWriter {
  /// A member that is a text, or null.
  mutating func member(_ name: StaticString, _ text: String?) {
    key(name)
    if let text { string(text) } else { null() }
  }

  /// A member that is a whole number, or null.
  mutating func member(_ name: StaticString, _ value: Int64?) {
    key(name)
    if let value { integer(value) } else { null() }
  }
}
