import Core
import Pipeline
import Policies

/// The document that says why a request was refused.
struct RefusalText {
  let record: RefusalRecord
  let services: Services

  var bytes: [UInt8] {
    let buffer = ByteBuffer()
    var json = JSONWriter(buffer)
    json.beginObject()
    let decision = ByteBuffer()
    record.decision.write(into: decision)
    json.member("decision", String(decoding: decision.array, as: UTF8.self))
    if let consumer = record.consumer { json.member("consumer", consumer) }
    if let subject = record.subject { json.member("subject", subject) }
    if let tenant = record.tenant { json.member("tenant", tenant) }
    if let key = record.key { json.member("key", key) }
    json.member("client", record.client.description)
    json.member("node", services.nodeName)
    json.member("time", CivilDate(record.time).rfc3339)
    json.member("route", record.route?.id)
    json.member("outcome", "refused")
    json.member("code", "\(record.refusal.code)")
    json.member("status", Int64(record.refusal.status))
    let outlines = outlines
    let question = question(outlines)
    json.member("explanation", sentence(question, outlines))
    json.member("retryAfter", record.refusal.retryAfterSeconds < 0 ? nil : Int64(record.refusal.retryAfterSeconds))
    if question.count > 0 { json.member("source", record.source.rawValue) }
    json.key("levels")
    json.beginArray()
    let document = UsageDocument(services: services, routes: [], civil: record.time)
    for index in 0..<question.count {
      json.beginObject()
      document.writeOutline(outlines[index], to: &json)
      document.writeState(question.isAnswered ? question[index] : nil, record.source, outlines[index].rule, to: &json)
      json.key("binding")
      json.bool(index == question.bindingIndex)
      json.endObject()
    }
    json.endArray()
    json.endObject()
    buffer.append("\n")
    return buffer.array
  }

  /// The limits of the route, as far as they were asked: all or none.
  private var outlines: [LimitOutline] {
    let chain = record.route?.chain
    let limits =
      chain?.requestPolicies(of: UsagePlans.self).first?.outlines(fromName: record.firstName)
      ?? chain?.requestPolicies(of: RateLimit.self).flatMap(\.outlines) ?? []
    return limits.count == record.levelCount ? limits : []
  }

  private func question(_ outlines: [LimitOutline]) -> LimitQuestion {
    var question = LimitQuestion()
    // Periods are not kept: what was refused is not forecast.
    let period = CivilPeriod(start: record.time, end: record.time)
    for (index, outline) in outlines.enumerated() {
      var level = QuotaLevel(key: outline.identity, rule: outline.rule, cost: outline.cost, period: period)
      level.remaining = record.levels[index].remaining
      level.resetNanoseconds = record.levels[index].resetNanoseconds
      level.isDenied = record.levels[index].isDenied
      question.append(level)
    }
    question.decision = record.limits
    question.source = record.source
    if question.isAnswered { question.findBinding() }
    return question
  }

  private func sentence(_ question: LimitQuestion, _ outlines: [LimitOutline]) -> String {
    if record.limits == .denied, question.count > 0 { return LimitVerdict(question, outlines, isPast: true).sentence }
    var text = "\(record.refusal.problem.detail)"
    if let fault = record.fault { text += " What was wrong: \(fault.reason)." }
    if record.limits == .admitted, question.count > 0 { text += " No limit stood against it, and all were taken from." }
    return text
  }
}
