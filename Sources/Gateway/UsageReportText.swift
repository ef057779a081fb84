import Core
import Pipeline
import Policies

/// The document that tells somebody how all his limits stand, written as the answers come.
struct UsageReportText: InquiryText {
  let document: UsageDocument
  let subject: UsageSubject
  let survey: UsageSurvey
  /// What charges go by.
  let meters: UsageMeters

  func write(_ question: LimitQuestion, from start: Int, to buffer: ByteBuffer) {
    begin(buffer)
    var json = JSONWriter(continuing: buffer)
    let isAnswered = question.isAnswered
    for index in 0..<question.count {
      if isAnswered, let plan = survey.counters[start + index].entry.plan {
        meters.note(question[index], plan, survey.counters[start + index].entry.outline)
      }
      document.write(
        survey.counters[start + index], subject, isAnswered ? question[index] : nil, question.source, to: &json)
    }
  }

  func end(_ buffer: ByteBuffer) {
    begin(buffer)
    var json = JSONWriter(continuing: buffer)
    for counter in survey.unknown { document.write(counter, subject, nil, nil, to: &json) }
    json.endArray()
    if !survey.plans.isEmpty { writePlans(to: &json) }
    json.key("complete")
    json.bool(survey.isComplete)
    json.endObject()
    buffer.append("\n")
  }

  private func writePlans(to json: inout JSONWriter) {
    json.key("plans")
    json.beginArray()
    for plan in survey.plans {
      json.beginObject()
      json.member("name", plan.name)
      json.member("policy", plan.policy.instance)
      json.key("price")
      if let price = plan.price { Self.write(price, to: &json) } else { json.null() }
      json.key("charge")
      if let price = plan.price, let meter = meters.reading(of: plan) {
        json.beginObject()
        json.member("amount", price.charge(for: meter.requests))
        json.member("currency", price.currency)
        json.member("requests", meter.requests)
        json.member("since", CivilDate(meter.since).rfc3339)
        json.endObject()
      } else {
        json.null()
      }
      json.endObject()
    }
    json.endArray()
  }

  private static func write(_ price: PlanPrice, to json: inout JSONWriter) {
    json.beginObject()
    json.member("currency", price.currency)
    json.member("base", price.base.text)
    json.member("included", price.included)
    json.member("request", price.request?.text)
    json.endObject()
  }

  private func begin(_ buffer: ByteBuffer) {
    guard buffer.isEmpty else { return }
    var json = JSONWriter(buffer)
    json.beginObject()
    document.writeSubject(subject, to: &json)
    json.key("limits")
    json.beginArray()
  }
}

/// How many requests the limits have counted that prices go by, kept while further counters are looked up.
final class UsageMeters {
  /// What one of them has counted.
  struct Reading {
    let requests: Int64
    /// When its month began.
    let since: WallTime
  }

  private var readings: [QuotaKey: Reading] = [:]

  /// Notes how a counter of a plan stands, where that is what its price goes by.
  func note(_ level: QuotaLevel, _ plan: PlanPlace, _ outline: LimitOutline) {
    guard plan.metered == outline.identity else { return }
    let used = max(0, level.rule.limit - level.remaining)
    readings[outline.identity] = Reading(requests: used, since: level.period.start)
  }

  /// What the meter of a plan says; nil where it has none, or nobody could say.
  func reading(of plan: PlanPlace) -> Reading? { plan.metered.flatMap { readings[$0] } }
}
