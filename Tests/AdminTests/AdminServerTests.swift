import Core
import Foundation
import Testing

@testable import Admin
@testable import Gateway

@Suite struct AdminServerTests {
  private static let plain = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

  @Test("it refuses to listen beyond loopback without a token")
  func unprotected() {
    let address = SocketAddress.ip(IPAddress(v4: 0), port: 9901)
    #expect(throws: AdminServer.Failure.unprotected(address)) {
      _ = try AdminServer(DeskWorld(), at: address, tokens: [], routes: [], version: "", post: { _ in })
    }
  }

  @Test(
    "what is not HTTP is answered with a problem and the connection ends",
    arguments: [
      ("GET /healthz HTTP/1.1\nHost: x\n\n", "400", "malformed-request"),
      ("GET /healthz HTTP/1.1\r\n\r\n", "400", "malformed-request"),
      ("GET /healthz HTTP/3.0\r\nHost: x\r\n\r\n", "505", "version-not-supported"),
      ("GET /\(String(repeating: "a", count: 5000)) HTTP/1.1\r\nHost: x\r\n\r\n", "414", "target-too-long"),
      ("GET / HTTP/1.1\r\nHost: x\r\nA: \(String(repeating: "a", count: 17000))\r\n\r\n", "431", "head-too-large"),
    ])
  func malformed(request: String, status: String, problem: String) throws {
    var desk = try Desk()
    let wire = desk.connect()
    desk.write(wire, request)
    let response = desk.read(wire)
    #expect(response.status == status)
    #expect(response.problem == problem)
    #expect(response.contains("Connection: close\r\n"))
    #expect(desk.world.wires[wire].serverEnded)
    #expect(!desk.world.wires[wire].isClosed)
    desk.pass(AdminServer.Limit.linger)
    #expect(desk.world.wires[wire].isClosed)
  }

  @Test("a connection serves several requests, also when they come at once or byte by byte")
  func keepsAlive() throws {
    var desk = try Desk()
    let wire = desk.connect()
    desk.write(wire, Self.plain + Self.plain)
    #expect(desk.read(wire).components(separatedBy: "HTTP/1.1 200 OK").count == 3)
    for character in Self.plain { desk.write(wire, String(character)) }
    #expect(desk.read(wire).status == "200")
  }

  @Test("a client that asks for the end gets the response and then the end")
  func closes() throws {
    var desk = try Desk()
    let wire = desk.connect()
    desk.write(wire, "GET /healthz HTTP/1.0\r\n\r\n")
    #expect(desk.read(wire).body == "ok\n")
    #expect(desk.world.wires[wire].serverEnded)
    desk.world.wires[wire].clientEnded = true
    desk.write(wire, "")
    #expect(desk.world.wires[wire].isClosed)
  }

  @Test("HEAD has the head of GET and no body")
  func head() throws {
    var desk = try Desk()
    let response = desk.ask("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(response.status == "200")
    #expect(response.contains("Content-Length: 3\r\n"))
    #expect(response.body.isEmpty)
  }

  @Test("a slow reader gets everything in the end, and one that reads nothing is let go")
  func slowReader() throws {
    var desk = try Desk()
    let wire = desk.connect()
    desk.world.wires[wire].window = 10
    desk.write(wire, Self.plain)
    #expect(desk.world.wires[wire].toClient.count == 10)
    desk.world.wires[wire].window = .max
    desk.server.ready(token: desk.world.wires[wire].token, .writable)
    #expect(desk.read(wire).body == "ok\n")
    desk.world.wires[wire].window = 0
    desk.write(wire, Self.plain)
    desk.pass(AdminServer.Limit.sendTime)
    #expect(desk.world.wires[wire].isClosed)
  }

  @Test("a head that does not come in time is answered with 408, an idle connection is closed silently")
  func timeouts() throws {
    var desk = try Desk()
    let (slow, idle) = (desk.connect(), desk.connect())
    desk.write(slow, "GET /healthz HT")
    desk.write(idle, Self.plain)
    _ = desk.read(idle)
    desk.pass(AdminServer.Limit.headTime)
    #expect(desk.read(slow).status == "408")
    #expect(!desk.world.wires[idle].isClosed)
    desk.pass(AdminServer.Limit.idle)
    #expect(desk.world.wires[idle].isClosed)
    #expect(desk.read(idle).isEmpty)
  }

  @Test("beyond the limit of connections idle ones give way, and without idle ones new ones are closed")
  func connectionLimit() throws {
    var desk = try Desk()
    let wires = (0..<AdminServer.Limit.connections).map { _ in desk.connect() }
    let next = desk.connect()
    #expect(wires.filter { desk.world.wires[$0].isClosed }.count == 1)
    for wire in wires + [next] where !desk.world.wires[wire].isClosed { desk.write(wire, "G") }
    let last = desk.connect()
    #expect(desk.world.wires[last].isClosed)
    #expect(desk.world.wires[last].wasReset)
  }

  @Test("stopping closes everything and ends the loop")
  func stops() throws {
    var desk = try Desk()
    let wire = desk.connect()
    desk.server.receive(.stop)
    #expect(desk.world.wires[wire].isClosed)
    #expect(!desk.server.isRunning)
  }
}

@Suite struct AdminBodyTests {
  private func desk() throws -> Desk {
    let echo = AdminRoute(.put, "/echo", role: .operator, operation: "echo", summary: "", outcomes: []) { request in
      AdminResponse(contentType: "text/plain", body: request.body)
    }
    return try Desk(extra: [echo])
  }

  private func put(_ fields: String, _ body: String = "", token: String = Desk.token) -> String {
    "PUT /echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(token)\r\n\(fields)\r\n\r\n\(body)"
  }

  @Test("a body is not read before the token is known to be good, and the connection ends")
  func refusedFirst() throws {
    var desk = try desk()
    let wire = desk.connect()
    desk.write(wire, put("Content-Length: 5\r\nExpect: 100-continue", token: "wrong-wrong-wrong"))
    let response = desk.read(wire)
    #expect(response.status == "401")
    #expect(response.contains("Connection: close"))
  }

  @Test("a body that is announced or grows too large is refused")
  func tooLarge() throws {
    var desk = try desk()
    #expect(desk.ask(put("Content-Length: 16777217")).status == "413")
    let wire = desk.connect()
    desk.write(wire, put("Transfer-Encoding: chunked"))
    let chunk = "100000\r\n" + String(repeating: "a", count: 1 << 20) + "\r\n"
    for _ in 0..<17 { desk.write(wire, chunk) }
    #expect(desk.read(wire).status == "413")
  }

  @Test("bodies with a length and in chunks arrive whole, and the next request follows")
  func whole() throws {
    var desk = try desk()
    let wire = desk.connect()
    for character in put("Content-Length: 5", "hello") { desk.write(wire, String(character)) }
    #expect(desk.read(wire).body == "hello")
    for character in put("Transfer-Encoding: chunked", "3\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n") {
      desk.write(wire, String(character))
    }
    #expect(desk.read(wire).body == "hello")
    desk.write(wire, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(desk.read(wire).status == "200")
  }

  @Test("a client that waits for 100 is told to go on")
  func expectation() throws {
    var desk = try desk()
    let wire = desk.connect()
    desk.write(wire, put("Content-Length: 2\r\nExpect: 100-continue"))
    #expect(desk.read(wire) == "HTTP/1.1 100 Continue\r\n\r\n")
    desk.write(wire, "ok")
    #expect(desk.read(wire).body == "ok")
  }

  @Test("broken chunks and bodies that do not come are refused")
  func broken() throws {
    var desk = try desk()
    #expect(desk.ask(put("Transfer-Encoding: chunked", "zz\r\n")).status == "400")
    let wire = desk.connect()
    desk.write(wire, put("Content-Length: 5", "he"))
    desk.pass(AdminServer.Limit.bodyTime)
    #expect(desk.read(wire).status == "408")
  }
}
