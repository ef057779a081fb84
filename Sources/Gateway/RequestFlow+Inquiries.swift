// What the admin port asks of a loop. It is slow work on a loop's thread, but short: a look at some counters.

import Core
import HTTP
import Pipeline
import Policies

extension RequestFlow {
  /// Finds out what `inquiry` asks, at once or when a shared store has answered.
  mutating func begin(_ inquiry: Inquiry) {
    let ring = configuration.services.keyRing
    var subject = UsageSubject()
    let consumer: String?
    var tenant: String?
    var route: Int32 = -1
    var key: String?
    var sent = Inquiry.Request()
    switch inquiry.topic {
    case .refusal(let decision): return explain(decision, for: inquiry)
    case .usage(let name, let address, let owner):
      consumer = name
      tenant = owner
      subject.address = address
    case .route(let name, let caller, let named, let address, let request):
      (consumer, key, subject.address, sent) = (caller, named, address, request)
      guard let index = configuration.blueprint.routes.firstIndex(where: { $0.id == name }) else {
        return inquiry.answer(.unknown("route"))
      }
      route = Int32(index)
      let isClosed = !configuration.blueprint.routes[index].chain.requestPolicies(of: ApiKey.self).isEmpty
      if isClosed, caller == nil { return inquiry.answer(.consumerNeeded) }
    }
    if let consumer {
      let index = ring.consumers.firstIndex { $0.id == consumer }.map { Int32($0) }
      guard let number = index ?? configuration.services.ownConsumer(named: consumer) else {
        return inquiry.answer(.unknown("consumer"))
      }
      if let tenant, configuration.services.consumer(number).tenant != tenant {
        return inquiry.answer(.unknown("consumer"))
      }
      subject.consumer = number
      // What addresses have used is no tenant's to know.
      if tenant != nil { subject.address = nil }
      let keys = configuration.services.consumer(number).keys
      if let key {
        if let position = keys.firstIndex(where: { $0.id == key }) {
          subject.key = Int32(position)
        } else if let issued = configuration.services.issuedKey(key, of: number) {
          (subject.key, subject.issuedKey) = (Exchange.issuedKeyMark, issued)
        } else {
          return inquiry.answer(.unknown("key"))
        }
      } else if route >= 0, !keys.isEmpty {
        subject.key = 0
      }
    }
    var access: AccessReport?
    if route >= 0 {
      let plan = configuration.blueprint.routes[Int(route)]
      access = AccessReport(plan, sent, subject, configuration.services)
      subject.identity = access?.identity
    }
    let entry = OpenInquiries.Entry(
      inquiry: inquiry, configuration: configuration, subject: subject, route: route, access: access,
      startedAt: loop.now)
    proceed(entry, inquiries.nextTicket(), isAnswered: false)
  }

  /// A shared store has answered an inquiry.
  mutating func resumeInquiry(_ ticket: UInt64) {
    guard var entry = inquiries.take(ticket) else { return }
    quota.collect(&entry.question, ticket: ticket)
    if entry.question.decision == .waiting { return wait(entry, ticket) }
    proceed(entry, ticket, isAnswered: entry.question.decision != .stale)
  }

  private mutating func wait(_ entry: OpenInquiries.Entry, _ ticket: UInt64) {
    if !inquiries.keep(entry, ticket, now: loop.now) { entry.inquiry.answer(.busy) }
  }

  private mutating func proceed(_ entry: OpenInquiries.Entry, _ ticket: UInt64, isAnswered: Bool) {
    var entry = entry
    let (services, blueprint) = (entry.configuration.services, entry.configuration.blueprint)
    let civil = services.civilTime(now: loop.now)
    let survey = UsageSurvey(blueprint.usage, entry.subject, services, civil, route: entry.route)
    let document = UsageDocument(services: services, routes: blueprint.routes, civil: civil)
    let text: any InquiryText =
      entry.route < 0
      ? UsageReportText(document: document, subject: entry.subject, survey: survey, meters: entry.meters)
      : ExplanationText(
        document: document, subject: entry.subject, survey: survey, route: blueprint.routes[Int(entry.route)],
        access: entry.access)
    var isAnswered = isAnswered
    while true {
      if isAnswered {
        text.write(entry.question, from: entry.answeredCount, to: entry.text)
        entry.answeredCount += entry.question.count
      }
      guard entry.answeredCount < survey.levels.count else { break }
      survey.fill(&entry.question, from: entry.answeredCount)
      quota.peek(&entry.question, ticket: ticket, now: loop.now, civil: civil)
      if entry.question.decision == .waiting { return wait(entry, ticket) }
      isAnswered = true
    }
    text.end(entry.text)
    entry.inquiry.answer(.document(entry.text.array))
  }
}

/// A document that is written as answers come.
protocol InquiryText {
  /// Adds what `question` says, which has been answered; its levels are those of the survey from `start` on.
  func write(_ question: LimitQuestion, from start: Int, to buffer: ByteBuffer)
  /// Adds what needs no answer, and closes the document.
  func end(_ buffer: ByteBuffer)
}
