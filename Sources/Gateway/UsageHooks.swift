// `GET /.sluice/usage`: callers learn how their limits stand, with the key that they call with.
//
// It is a request like any other, parked, logged and counted by the same code, on a chain of two hooks that no file can
// name. It takes nothing from any limit. So that it is not for that a way to keep a node busy, each loop answers a
// consumer ten times at once and ten times a second, and one answer has a limited number of counters.

import Core
import HTTP
import Pipeline
import Policies

/// Knows the caller by any of the `api-key` policies that routes use: whoever could call a route can ask. Refuses as they
/// do, with the fields of all of them.
final class UsageIdentity: RequestHook {
  private let policies: [ApiKey]

  init(_ policies: [ApiKey]) { self.policies = policies }

  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    var refusal: Refusal?
    for policy in policies {
      let verdict = policy.onRequest(&exchange, request, services)
      if case .refuse(let found) = verdict, found.entry == .keyRevoked { return verdict }
      // Known is enough: where the consumer may not go, it is told nothing about.
      if exchange.consumer >= 0 {
        exchange.responseFields.removeAll()
        return .next
      }
      // That a key is wrong says more than that another is missing.
      if case .refuse(let found) = verdict, refusal == nil || refusal?.entry == .keyMissing { refusal = found }
    }
    return .refuse(refusal ?? Refusal(ProblemCatalogue.keyMissing))
  }
}

/// Looks up all counters of the caller, eight at a time, and replies with them.
final class UsageReport: RequestHook, EndHook {
  private let catalogue: UsageCatalogue

  init(_ catalogue: UsageCatalogue) { self.catalogue = catalogue }

  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard services.inquiries.admits(exchange.consumer, now: services.world.now) else {
      return .refuse(Refusal(ProblemCatalogue.rateLimited, retryAfterSeconds: 1))
    }
    // Until there is a reply, its status says how many counters have been answered.
    exchange.replyStatus = 0
    exchange.carried = UsageMeters()
    return proceed(&exchange, request, services, isAnswered: false)
  }

  func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    services.quota.collect(&exchange.limits, ticket: exchange.ticket)
    if exchange.limits.decision == .waiting { return .wait }
    // A question about a period that is over by now is asked anew.
    return proceed(&exchange, request, services, isAnswered: exchange.limits.decision != .stale)
  }

  /// What was asked takes nothing and is nobody's decision about this request.
  func onEnd(_ exchange: inout Exchange, _ services: Services) {
    exchange.limits.removeAll()
    exchange.carried = nil
  }

  private func proceed(
    _ exchange: inout Exchange, _ request: RequestHead, _ services: Services, isAnswered: Bool
  ) -> Verdict {
    let now = services.world.now
    let civil = services.civilTime(now: now)
    let subject = UsageSubject(
      consumer: exchange.consumer, key: exchange.key, issuedKey: exchange.issuedKey, address: exchange.client,
      request: request)
    let survey = UsageSurvey(catalogue, subject, services, civil)
    let report = UsageReportText(
      document: UsageDocument(services: services, routes: catalogue.routes, civil: civil), subject: subject,
      survey: survey, meters: exchange.carried as? UsageMeters ?? UsageMeters())
    var isAnswered = isAnswered
    while true {
      let done = Int(exchange.replyStatus)
      if isAnswered {
        report.write(exchange.limits, from: done, to: exchange.replyBody)
        exchange.replyStatus += UInt16(exchange.limits.count)
      }
      guard Int(exchange.replyStatus) < survey.levels.count else { break }
      survey.fill(&exchange.limits, from: Int(exchange.replyStatus))
      services.quota.peek(&exchange.limits, ticket: exchange.ticket, now: now, civil: civil)
      if exchange.limits.decision == .waiting { return .wait }
      isAnswered = true
    }
    exchange.limits.removeAll()
    report.end(exchange.replyBody)
    exchange.replyStatus = 200
    exchange.responseFields.append("Content-Type: application/json\r\nCache-Control: no-store\r\n")
    return .reply
  }
}
