import Core
import Pipeline
import Testing

@Suite("AccessRule on requests")
struct RuleTargetTests {
  @Test(
    "Paths are compared decoded and by whole segments",
    arguments: [
      ("/a", "path == '/a'", true), ("/%61", "path == '/a'", true), ("/a/", "path == '/a'", false),
      ("/A", "path == '/a'", false),
      ("/a", "path != '/a'", false), ("/b", "path not in ['/a', '/c']", true), ("/a%2Fb", "path == '/a/b'", false),
      ("/a%2fb", "path == '/a%2Fb'", true), ("/a", "path matches '/a/*'", true),
      ("/a/b/c", "path matches '/a/*'", true),
      ("/%61/b", "path matches '/a/*'", true), ("/ab", "path matches '/a/*'", false),
      ("/x/1/y", "path matches '/x/{id}/y'", true),
      ("/x//y", "path matches '/x/{id}/y'", false), ("/x/1/2/y", "path matches '/x/{id}/y'", false),
      ("/x/1", "path matches ['/y', '/x/{id}']", true), ("/", "path == '/'", true), ("/any", "path matches '/*'", true),
      ("*", "path matches '/*'", false), ("*", "path != '/a'", true), ("/a%zz", "path == '/a'", false),
    ])
  func paths(path: String, rule: String, holds: Bool) throws {
    #expect(try RuleCase(path: path).holds(rule) == holds)
  }

  @Test(
    "Hosts are compared without regard to case, and a star takes what is below",
    arguments: [
      ("API.Example.com", "host == 'api.example.com'", true), ("api.example.com.", "host == 'API.example.com'", true),
      ("a.b.example.com", "host matches '*.example.com'", true), ("example.com", "host matches '*.example.com'", false),
      ("badexample.com", "host matches '*.example.com'", false),
      ("example.com.evil", "host matches '*.example.com'", false),
      ("x.org", "host not in ['example.com']", true), ("", "host != 'example.com'", false),
      ("[::1]", "host == '[::1]'", true),
    ])
  func hosts(host: String, rule: String, holds: Bool) throws {
    #expect(try RuleCase(host: host).holds(rule) == holds)
  }

  @Test(
    "Methods, routes and addresses are compared as they are",
    arguments: [
      ("method in ['GET', 'POST']", true), ("method == 'PUT'", false), ("method != 'PUT'", true),
      ("method not in ['GET']", false),
      ("method == 'PURGE'", false), ("route == 'orders'", true), ("route in ['users']", false),
      ("address in ['10.0.0.0/8', '192.0.2.0/24']", true), ("address in ['::/0']", false),
      ("address == '192.0.2.7'", true),
      ("address != '192.0.2.7'", false), ("address not in ['10.0.0.0/8']", true), ("address in '192.0.2.0/24'", true),
    ])
  func requests(rule: String, holds: Bool) throws {
    #expect(try RuleCase().holds(rule) == holds)
  }

  @Test("A method that no standard names is compared by its letters")
  func otherMethods() throws {
    #expect(try RuleCase(method: "PURGE").holds("method in ['GET', 'PURGE']"))
    #expect(try !RuleCase(method: "purge").holds("method in ['GET', 'PURGE']"))
    #expect(try RuleCase(method: "PURGE").holds("method != 'GET'"))
  }

  @Test("What a request does not have cannot be compared, and nothing holds of it")
  func noRequest() throws {
    let nothing = RuleCase(method: "", path: "", host: "", route: "", address: nil)
    for rule in ["method != 'GET'", "path != '/'", "host != 'a'", "route != 'a'", "address not in ['10.0.0.0/8']"] {
      #expect(try !nothing.holds(rule), "\(rule)")
    }
  }

  @Test(
    "The time of day has a beginning that belongs to it and an end that does not",
    arguments: [
      ("12:30:00", "time in '12:30-13:00'", true), ("13:00:00", "time in '12:30-13:00'", false),
      ("12:29:59", "time in '12:30-13:00'", false), ("23:30:00", "time in '22:00-06:00'", true),
      ("05:59:59", "time in '22:00-06:00'", true), ("06:00:00", "time in '22:00-06:00'", false),
      ("23:59:59", "time in '18:00-24:00'", true), ("12:00:00", "time in ['08:00-10:00', '11:00-13:00']", true),
      ("12:00:00", "time not in ['08:00-10:00', '11:00-13:00']", false),
    ])
  func times(time: String, rule: String, holds: Bool) throws {
    #expect(try RuleCase(time: "2026-03-04T\(time)Z").holds(rule) == holds)
  }

  @Test(
    "Days of the week go round",
    arguments: [("wed", true), ("mon-fri", true), ("sat-wed", true), ("thu-tue", false), ("sun", false)])
  func days(days: String, holds: Bool) throws {
    #expect(try RuleCase().holds("weekday in ['\(days)']") == holds)
    #expect(try RuleCase().holds("weekday != '\(days)'") != holds)
  }

  @Test("Times and days are those of the rule's zone")
  func zones() throws {
    // Two hours ahead in summer, and already Thursday there.
    let zone = try TimeZoneFiles.table(named: "Europe/Berlin")
    let night = RuleCase(time: "2026-07-01T22:30:00Z")
    #expect(try night.holds("time in '00:00-01:00' and weekday == 'thu'", zone: zone))
    #expect(try night.holds("time in '22:00-23:00' and weekday == 'wed'"))
  }
}
