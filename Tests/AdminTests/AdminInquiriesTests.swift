import Core
import Foundation
import Pipeline
import Synchronization
import Testing

@testable import Admin
@testable import Gateway

/// Stands in for the loops: keeps what is asked until a test answers.
final class Loops: Sendable {
  private let asked = Mutex<[Inquiry]>([])

  func ask(_ inquiry: Inquiry) { asked.withLock { $0.append(inquiry) } }

  func next() -> Inquiry? { asked.withLock { $0.isEmpty ? nil : $0.removeFirst() } }

  func topic() -> String? { asked.withLock { $0.first.map { "\($0.topic)" } } }
}

@Suite struct AdminInquiriesTests {
  private let loops = Loops()

  private func desk() throws -> Desk {
    let loops = loops
    return try Desk(extra: AdminRoute.inquiries { loops.ask($0) })
  }

  private func request(_ target: String, _ method: String = "GET") -> String {
    "\(method) \(target) HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(Desk.token)\r\n\r\n"
  }

  @Test("without a token nobody is told anything, and no loop is asked")
  func refused() throws {
    var desk = try desk()
    for path in ["/v1/usage/one", "/v1/explain?route=r"] { #expect(desk.get(path, token: nil).status == "401") }
    #expect(loops.next() == nil)
  }

  @Test(
    "what cannot be asked is refused",
    arguments: [
      ("/v1/usage/", "404", "admin-not-found"), ("/v1/usage/a/b", "404", "admin-not-found"),
      ("/v1/usage/a%zz", "400", "malformed-request"), ("/v1/usage", "404", "admin-not-found"),
      ("/v1/usage/a?ip=here", "400", "malformed-parameter"), ("/v1/explain", "404", "route-needed"),
      ("/v1/explain?decision=0", "400", "malformed-parameter"), ("/v1/explain?route=", "400", "malformed-parameter"),
      ("/v1/explain?route=r&ip=1.2.3", "400", "malformed-parameter"),
    ])
  func malformed(target: String, status: String, problem: String) throws {
    var desk = try desk()
    let wire = desk.connect()
    desk.write(wire, request(target))
    desk.deliver()
    let response = desk.read(wire)
    #expect(response.status == status && response.problem == problem)
  }

  @Test("a connection waits for the loop's answer, and then goes on")
  func answered() throws {
    var desk = try desk()
    let wire = desk.connect()
    desk.write(wire, request("/v1/usage/a%2Db?ip=192.0.2.1") + request("/healthz"))
    #expect(desk.read(wire) == "")
    #expect(loops.topic() == "usage(consumer: \"a-b\", address: Optional(192.0.2.1), tenant: nil)")
    try #require(loops.next()).answer(.document(Array("{}\n".utf8)))
    desk.deliver()
    let responses = desk.read(wire)
    #expect(responses.status == "200" && responses.contains("\r\n\r\n{}\n"))
    #expect(responses.hasSuffix("ok\n"))
  }

  @Test("HEAD is told how long the answer is")
  func head() throws {
    var desk = try desk()
    let wire = desk.connect()
    desk.write(wire, request("/v1/usage/a", "HEAD"))
    try #require(loops.next()).answer(.document(Array("{}\n".utf8)))
    desk.deliver()
    let response = desk.read(wire)
    #expect(response.contains("Content-Length: 3\r\n") && response.body == "")
  }

  @Test("what the configuration does not have, and what must be said, is told")
  func unknown() throws {
    let answers: [(Inquiry.Answer, String, String)] = [
      (.unknown("route"), "404", "not-configured"), (.consumerNeeded, "404", "consumer-needed"),
      (.busy, "504", "node-busy"),
    ]
    for (answer, status, problem) in answers {
      var desk = try desk()
      let wire = desk.connect()
      desk.write(wire, request("/v1/explain?consumer=a&route=r&key=k"))
      let topic = try #require(loops.topic())
      #expect(topic.hasPrefix("route(\"r\", consumer: Optional(\"a\"), key: Optional(\"k\"), address: nil, "))
      try #require(loops.next()).answer(answer)
      desk.deliver()
      let response = desk.read(wire)
      #expect(response.status == status && response.problem == problem)
    }
  }

  @Test("what access rules go by is handed on")
  func claims() throws {
    var desk = try desk()
    let wire = desk.connect()
    desk.write(wire, request("/v1/explain?route=r&method=PUT&path=%2Fa&host=b&claims=%7B%22sub%22%3A1%7D"))
    let inquiry = try #require(loops.next())
    guard case .route("r", nil, nil, nil, let sent) = inquiry.topic else {
      Issue.record("\(inquiry.topic)")
      return
    }
    #expect(sent.method == "PUT" && sent.path == "/a" && sent.host == "b")
    #expect(sent.claims == Array("{\"sub\":1}".utf8))
  }

  @Test("a refusal is asked for by its name, and one that nobody remembers is 404")
  func decision() throws {
    var desk = try desk()
    let wire = desk.connect()
    desk.write(wire, request("/v1/explain?decision=urn:sluice:decision:" + String(repeating: "0a", count: 16)))
    let inquiry = try #require(loops.next())
    guard case .refusal(let decision) = inquiry.topic, decision.high == decision.low,
      decision.low == 0x0a0a_0a0a_0a0a_0a0a
    else {
      Issue.record("\(inquiry.topic)")
      return
    }
    inquiry.answer(.unknown("decision"))
    desk.deliver()
    let response = desk.read(wire)
    #expect(response.status == "404" && response.problem == "decision-unknown")
  }

  @Test("an answer that does not come is given up, and counts for nothing when it does")
  func late() throws {
    var desk = try desk()
    let wire = desk.connect()
    desk.write(wire, request("/v1/usage/a"))
    desk.pass(AdminServer.Limit.answerTime)
    #expect(desk.read(wire).problem == "node-busy")
    let inquiry = try #require(loops.next())
    desk.write(wire, request("/v1/usage/b"))
    inquiry.answer(.document(Array("{\"late\":1}\n".utf8)))
    desk.deliver()
    #expect(desk.read(wire) == "")
    try #require(loops.next()).answer(.document(Array("{}\n".utf8)))
    desk.deliver()
    #expect(desk.read(wire).body == "{}\n")
  }

  @Test("the description has the operations with their parameters, and every schema that it names")
  func description() throws {
    var desk = try desk()
    let body = desk.get("/openapi.json").body
    let object = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
    let paths = try #require(object["paths"] as? [String: [String: [String: Any]]])
    let usage = try #require(paths["/v1/usage/{consumer}"]?["get"])
    let parameters = try #require(usage["parameters"] as? [[String: Any]])
    #expect(parameters.map { $0["in"] as? String } == ["path", "query"])
    #expect(usage["x-sluice-role"] as? String == "viewer")
    let schemas = try #require((object["components"] as? [String: Any])?["schemas"] as? [String: Any])
    for reference in body.matches(of: /#\/components\/schemas\/(\w+)/) { #expect(schemas[String(reference.1)] != nil) }
  }
}
