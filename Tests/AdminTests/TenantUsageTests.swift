import Core
import Pipeline
import Testing

@testable import Admin
@testable import Gateway

/// What a loop says of a consumer.
enum LoopWord: Sendable {
  case document, unknown, busy
}

@Suite("Usage of a tenant")
struct TenantUsageTests {
  private let loops = Loops()

  /// A desk on which the tenant `acme` has the consumers `a`, `b` and `c`, `globex` has `lab`, and `bare` has none.
  private func desk() throws -> Desk {
    let consumers = ["c", "a", "b"].map { Consumer(id: $0, tenant: "acme", keys: []) }
    let names = ConsumerNames(
      ring: try KeyRing(consumers + [Consumer(id: "lab", tenant: "globex", keys: [])]),
      tenants: ["acme", "globex", "bare"])
    let usage = TenantUsage(
      metrics: Metrics(loops: 1, problemCodes: []), inquire: { [loops] in loops.ask($0) }, agree: { $0(nil) },
      directory: { names })
    let route = AdminRoute(
      .get, "/v1/tenants/{tenant}/usage", role: .viewer, isForTenants: true, operation: "look", summary: "",
      parameters: [
        AdminRoute.Parameter("tenant", .name, isInPath: true, ""), AdminRoute.Parameter("after", .name, ""),
        AdminRoute.Parameter("limit", .integer(1...32), ""),
      ], outcomes: [], handler: .later { request, reply in usage.answer(request, reply) })
    let tokens = [
      AdminSettings.Token(name: "ops", role: .admin, secret: Desk.token),
      AdminSettings.Token(name: "acme-eyes", role: .viewer, secret: "secret-of-acme-eyes", tenant: "acme"),
    ]
    return try Desk(tokens: tokens, extra: [route] + AdminRoute.inquiries { [loops] in loops.ask($0) })
  }

  private func ask(_ desk: inout Desk, _ target: String, token: String = "secret-of-acme-eyes") -> Int {
    let wire = desk.connect()
    desk.write(wire, "GET \(target) HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(token)\r\n\r\n")
    return wire
  }

  /// The consumers who are asked about.
  private func asked() -> [Inquiry] {
    var all: [Inquiry] = []
    while let inquiry = loops.next() { all.append(inquiry) }
    return all
  }

  private func name(_ inquiry: Inquiry) -> String {
    if case .usage(let consumer, _, _) = inquiry.topic { consumer } else { "" }
  }

  private func answer(_ inquiry: Inquiry, _ word: LoopWord) {
    switch word {
    case .document: inquiry.answer(.document(Array("{\"consumer\":\"\(name(inquiry))\"}".utf8)))
    case .unknown: inquiry.answer(.unknown("consumer"))
    case .busy: inquiry.answer(.busy)
    }
  }

  @Test(
    "A page on which a loop cannot say how one consumer stands is none: it is refused, once, whatever the others say",
    arguments: [
      [LoopWord.busy, .document, .document], [.document, .busy, .document], [.document, .document, .busy],
      [.busy, .busy, .busy], [.busy, .document, .busy], [.unknown, .busy, .unknown], [.document, .busy, .busy],
    ])
  func busy(words: [LoopWord]) throws {
    var desk = try desk()
    let wire = ask(&desk, "/v1/tenants/acme/usage")
    var letters: [AdminServer.Message] = []
    for (inquiry, word) in zip(asked(), words) {
      answer(inquiry, word)
      letters += desk.letters.takeAll()
    }
    #expect(letters.count == 1)
    for letter in letters { desk.letters.add(letter) }
    desk.deliver()
    let response = desk.read(wire)
    #expect(response.status == "504" && response.problem == "node-busy")
    #expect(!response.contains("consumer") && !response.contains("requests"))
  }

  @Test("Nothing is said before all have answered; consumers stand in order of their names, without who is gone")
  func whole() throws {
    var desk = try desk()
    let wire = ask(&desk, "/v1/tenants/acme/usage")
    let inquiries = asked()
    #expect(inquiries.map(name) == ["a", "b", "c"])
    for (inquiry, word) in zip(inquiries, [LoopWord.document, .unknown, .document]).reversed() {
      desk.deliver()
      #expect(desk.read(wire) == "")
      answer(inquiry, word)
    }
    desk.deliver()
    let body = desk.read(wire).body
    let root = JSONDocument.parse(Array(body.utf8), dialect: .strict).document?.root
    #expect(root?["consumers"]?.elements.map { $0["consumer"]?.string } == ["a", "c"])
    #expect(root?["tenant"]?.string == "acme" && root?["scope"]?.string == "node")
    #expect(root?["next"]?.kind == .null)
  }

  @Test("A page ends where it should, and the next begins behind it")
  func pages() throws {
    var desk = try desk()
    for (target, names, next) in [
      ("?limit=2", ["a", "b"], "b"), ("?limit=2&after=b", ["c"], nil), ("?limit=3", ["a", "b", "c"], nil),
      ("?after=aa&limit=1", ["b"], "b"),
    ] as [(String, [String], String?)] {
      let wire = ask(&desk, "/v1/tenants/acme/usage\(target)")
      let inquiries = asked()
      #expect(inquiries.map(name) == names)
      for inquiry in inquiries { answer(inquiry, .document) }
      desk.deliver()
      let body = desk.read(wire).body
      let root = JSONDocument.parse(Array(body.utf8), dialect: .strict).document?.root
      #expect(root?["next"]?.string == next && root?["consumers"]?.count == names.count, "\(target)")
    }
  }

  @Test("A tenant without consumers has an empty page at once, and one that is not there none; no loop is asked")
  func nobody() throws {
    var desk = try desk()
    for (path, status) in [("bare", "200"), ("initech", "404"), ("bare/usage", "404")] {
      let wire = ask(&desk, "/v1/tenants/\(path)/usage", token: Desk.token)
      desk.deliver()
      let response = desk.read(wire)
      #expect(response.status == status && response.contains("\"consumers\":[]") == (status == "200"))
    }
    for tenant in ["globex", "initech"] {
      let wire = ask(&desk, "/v1/tenants/\(tenant)/usage")
      desk.deliver()
      #expect(desk.read(wire).problem == "tenant-unknown")
    }
    #expect(asked().isEmpty)
  }

  @Test("Loops are told for which tenant they are asked, so that they say nothing of others, nor of any address")
  func owner() throws {
    var desk = try desk()
    _ = ask(&desk, "/v1/tenants/acme/usage")
    _ = ask(&desk, "/v1/tenants/acme/usage", token: Desk.token)
    _ = ask(&desk, "/v1/usage/lab")
    let owners = asked().map { inquiry -> [String?] in
      guard case .usage(_, let address, let tenant) = inquiry.topic else { return [] }
      return [tenant, address?.description]
    }
    #expect(owners == Array(repeating: ["acme", nil], count: 7))
    _ = ask(&desk, "/v1/usage/lab", token: Desk.token)
    guard case .usage("lab", nil, nil)? = asked().first?.topic else {
      Issue.record("an operator of no tenant asks for none")
      return
    }
  }
}
