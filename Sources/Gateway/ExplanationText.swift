import Core
import Pipeline
import Policies

/// The document that says how a request to one route would be decided now.
struct ExplanationText: InquiryText {
  let document: UsageDocument
  let subject: UsageSubject
  let survey: UsageSurvey
  let route: RoutePlan
  let access: AccessReport?

  func write(_ question: LimitQuestion, from start: Int, to buffer: ByteBuffer) {
    var question = question
    let isAnswered = question.isAnswered
    if isAnswered {
      // Whoever only looks may be told how levels stand, and not what that means for a request.
      let isDenied = (0..<question.count).contains { question[$0].isDenied }
      question.decision = isDenied ? .denied : .admitted
      question.findBinding()
    }
    let binding = question.bindingIndex
    var json = begin(buffer)
    let outlines = survey.counters.map(\.entry.outline)
    let verdict = LimitVerdict(question, outlines, isPast: false)
    write(verdict, to: &json)
    json.member("source", isAnswered ? question.source.rawValue : nil)
    json.key("levels")
    json.beginArray()
    for index in 0..<question.count {
      json.beginObject()
      document.writeOutline(outlines[index], to: &json)
      document.writeState(isAnswered ? question[index] : nil, question.source, outlines[index].rule, to: &json)
      json.key("binding")
      json.bool(index == binding)
      json.endObject()
    }
    json.endArray()
  }

  func end(_ buffer: ByteBuffer) {
    var json = JSONWriter(continuing: buffer)
    if buffer.isEmpty {
      json = begin(buffer)
      write(isAllowed ? .unlimited : .notAllowed, to: &json)
      json.key("levels")
      json.beginArray()
      json.endArray()
    }
    json.key("unknown")
    json.beginArray()
    for counter in survey.unknown {
      json.beginObject()
      document.writeOutline(counter.entry.outline, to: &json)
      json.endObject()
    }
    json.endArray()
    access?.write(to: &json)
    json.endObject()
    buffer.append("\n")
  }

  /// Whether the route lets the consumer pass.
  private var isAllowed: Bool {
    guard subject.consumer >= 0 else { return true }
    let consumer = document.services.consumer(subject.consumer)
    return route.chain.requestPolicies(of: ApiKey.self).allSatisfy { $0.admits(consumer) }
  }

  private func begin(_ buffer: ByteBuffer) -> JSONWriter {
    var json = JSONWriter(buffer)
    json.beginObject()
    document.writeSubject(subject, to: &json)
    json.member("route", route.id)
    return json
  }

  private func write(_ limits: LimitVerdict, to json: inout JSONWriter) {
    // Rules come before limits.
    let verdict = access?.refusal ?? limits
    json.member("outcome", verdict.outcome)
    json.member("code", verdict.code)
    json.member("explanation", verdict.sentence)
  }
}

/// What limits make of a request, in words.
struct LimitVerdict {
  /// `admitted`, `refused` or `unknown`.
  let outcome: String
  /// The code of the problem document; nil where there is none.
  let code: String?
  let sentence: String

  static let unlimited = LimitVerdict("admitted", nil, "No limit stands against it that could be looked up.")
  static let notAllowed = LimitVerdict(
    "refused", ProblemCatalogue.consumerNotAllowed, "The route does not let this consumer pass.")

  init(_ outcome: String, _ problem: Problem?, _ sentence: String) {
    self.outcome = outcome
    code = problem.map { "\($0.code)" }
    self.sentence = sentence
  }

  /// What `question`, whose binding level has been found, means; its levels are those of `outlines`.
  init(_ question: LimitQuestion, _ outlines: [LimitOutline], isPast: Bool) {
    let would = isPast ? "was" : "would be"
    guard let index = question.bindingIndex, index < outlines.count,
      question.decision == .admitted || question.decision == .denied
    else {
      let rules = Set(outlines.map { "\"\($0.terms.outage.rawValue)\"" }).sorted().joined(separator: ", ")
      self = LimitVerdict(
        "unknown", nil,
        "The shared store cannot be asked how the limits stand; meanwhile onStoreFailure holds, which is \(rules).")
      return
    }
    let (level, outline) = (question[index], outlines[index])
    let name = "the limit \"\(outline.name)\" of \"\(outline.policy)\" (\(outline.words))"
    guard question.decision == .denied else {
      self = LimitVerdict(
        "admitted", nil,
        "It \(would) admitted; \(name) comes first to its end, with \(level.remaining) of \(level.rule.limit) left.")
      return
    }
    var sentence =
      "It \(would) refused: of \(name) \(level.remaining) of \(level.rule.limit) \(isPast ? "were" : "are") left"
    sentence += outline.cost > 1 ? ", and it costs \(outline.cost)." : "."
    if case .concurrency = level.rule {
      self = LimitVerdict("refused", ProblemCatalogue.concurrencyLimited, sentence)
      return
    }
    if level.resetNanoseconds < .max {
      let seconds = level.resetNanoseconds / 1_000_000_000 + (level.resetNanoseconds % 1_000_000_000 > 0 ? 1 : 0)
      sentence += isPast ? " It admits again \(seconds) s after that." : " It admits again in \(seconds) s."
    }
    self = LimitVerdict("refused", ProblemCatalogue.rateLimited, sentence)
  }
}

extension LimitOutline {
  /// The numbers in words: `5 in any 60 s`.
  var words: String {
    switch rule {
    case .rate(let interval, let burst):
      "\(burst) at once, then one every \(Double(interval) / 1_000_000_000) s"
    case .window(let limit, let length): "\(limit) in each window of \(length / 1_000_000) s"
    case .sliding(let limit, let length): "\(limit) in any \(length / 1_000_000) s"
    case .calendar(let limit): "\(limit) in each calendar period of \(seconds ?? 0) s"
    case .concurrency(let limit): "\(limit) at the same time"
    }
  }
}
