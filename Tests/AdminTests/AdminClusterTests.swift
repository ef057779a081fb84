import Core
import Testing

@testable import Admin

@Suite struct AdminClusterTests {
  @Test("a node without a cluster says so; without a token it says nothing")
  func noCluster() throws {
    var desk = try Desk(extra: AdminRoute.cluster { $0(nil) })
    #expect(desk.get("/v1/nodes", token: nil).status == "401")
    let wire = desk.connect()
    desk.write(wire, "GET /v1/nodes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(Desk.token)\r\n\r\n")
    desk.deliver()
    let response = desk.read(wire)
    #expect(response.status == "409" && response.problem == "no-cluster")
  }
}
