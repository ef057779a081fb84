import Core
import HTTP
import Net
import Synchronization

extension Verb {
  /// `sluice bench`
  static let bench = Verb(
    "bench", "[OPTIONS] URL…",
    summary: "load generator for HTTP/1.1 and HTTP/2, with or without TLS",
    description: """
      Sends requests over TCP, TLS and unix sockets (http://host:port/path, https://…, unix:/socket:/path), as HTTP/1.1 or
      HTTP/2, and measures to the last byte.
      Without --rate every connection sends its next request when it has its answer (closed loop). With --rate requests
      are due at even intervals whatever the server does, and latency counts from when they were due (open loop).
      Several URLs are asked in turn; with --compare each is a target of its own, measured in rounds, one after the other, and
      compared with the first. Ctrl-C ends early and still prints the result. Exit status 1: nothing could be
      measured, or the rate was not held.
      """,
    options: [
      Option("--connections", "-c", value: "N", "connections, all threads together (64)"),
      Option("--threads", "-t", value: "N", "threads that generate (1); one usually suffices"),
      Option("--duration", "-d", value: "TIME", "how long to measure (10s)"),
      Option("--requests", "-n", value: "N", "measure so many requests instead"),
      Option("--rate", "-R", value: "N", "open loop: so many requests a second"),
      Option("--warmup", "-w", value: "TIME", "send for so long before measuring (0s)"),
      Option("--interval", value: "TIME", "figures for each so long, in --json and --html (1s)"),
      Option("--timeout", value: "TIME", "give a request up after that (5s)"),
      Option("--method", "-m", value: "NAME", "GET, or POST where there is a body"),
      Option("--header", "-H", value: "FIELD", "`Name: value`, may be repeated"),
      Option("--body", "-b", value: "TEXT|@FILE", "send this with every request"),
      Option("--urls", value: "FILE", "more URLs, or paths of the first one, one a line"),
      Option("--keys", value: "FILE", "keys, one a line, used in turn"),
      Option(
        "--key-header", value: "NAME", "the field that carries the key (X-API-Key); `Authorization: Bearer` works too"),
      Option("--unix-socket", value: "PATH", "connect there whatever the URLs say"),
      Option("--no-keepalive", "a new connection for every request; over https, a handshake each"),
      Option("--h2", "HTTP/2 over TLS, which the server must choose (ALPN)"),
      Option("--h2c", "HTTP/2 in cleartext, with prior knowledge"),
      Option("--streams", value: "N", "--h2, --h2c: so many requests at a time on a connection (1)"),
      Option("--ca", value: "FILE", "trust these authorities (PEM) in place of the system's"),
      Option("--insecure", "-k", "do not verify certificates"),
      Option("--no-resume", "a full handshake for every connection"),
      Option("--pipeline", value: "N", "send so many requests at once on a connection (1)"),
      Option("--json", value: "FILE|-", "write the result as JSON, to standard output with -"),
      Option("--html", value: "FILE", "write the result as one HTML page with plots"),
      Option("--compare", "measure the URLs one after the other, in rounds, and compare them"),
      Option("--rounds", value: "N", "--compare: so many rounds (3)"),
      Option("--quiet", "-q", "no progress"),
    ],
    examples: [
      "sluice bench http://127.0.0.1:8080/v1/orders",
      "sluice bench -c 200 -R 20000 -w 2s -d 30s --html result.html http://127.0.0.1:8080/v1/orders",
      "sluice bench --compare --rounds 5 -d 4s http://127.0.0.1:8080/orders http://127.0.0.1:8081/orders",
      "sluice bench --h2 --streams 10 --ca ca.pem https://api.example:8443/v1/orders",
      "sluice bench -n 100000 --keys keys.txt --key-header X-API-Key --json - http://127.0.0.1:8080/v1/orders",
    ],
    run: { (arguments) throws(UsageError) in try BenchCommand.run(arguments) })
}

/// From words to a plan, and from a result to what is written.
enum BenchCommand {
  /// The most bytes of a file of URLs, keys or a body.
  static let fileLimit = 64 << 20

  static func run(_ arguments: Arguments) throws(UsageError) -> ExitStatus {
    ProcessLimits.raiseDescriptors()
    let plan = try plan(arguments, resolve: resolve)
    let isShown = Console.showsProgress && !arguments.has("--quiet")
    if arguments.has("--compare") { return try compare(plan, arguments, showsProgress: isShown) }
    if arguments.has("--rounds") { throw UsageError("--rounds goes with --compare; add it") }
    let json = arguments.value("--json")
    let result: BenchResult
    do {
      result = try BenchRunner.run(plan, showsProgress: isShown)
    } catch {
      Console.error("sluice bench: \(error.message)\n")
      return .failed
    }
    do throws(Console.FileError) {
      if let json { try Console.write(BenchJSON.render(result), to: json) }
      if let path = arguments.value("--html") { try Console.write(BenchHTML.render(result), to: path) }
    } catch {
      Console.error("sluice bench: \(error.message)\n")
      return .failed
    }
    if json == "-" {
      for warning in result.warnings { Console.error("note: \(warning)\n") }
    } else {
      Console.output(BenchText.render(result))
    }
    return result.status
  }

  /// Measures the targets of `plan` one after the other, in rounds.
  private static func compare(
    _ plan: BenchPlan, _ arguments: Arguments, showsProgress: Bool
  ) throws(UsageError) -> ExitStatus {
    guard plan.targets.count >= 2 else { throw UsageError("--compare needs two URLs at least; give another one") }
    if arguments.has("--html") { throw UsageError("--compare and --html exclude each other; take --json") }
    let rounds = try arguments.integer("--rounds", in: 1...BenchComparison.roundLimit) ?? 3
    var comparison = BenchComparison(targets: plan.targets.count)
    rounds: for _ in 0..<rounds {
      for target in plan.targets.indices {
        var single = plan
        (single.targets, single.requests) = ([plan.targets[target]], [plan.requests[target]])
        do {
          let result = try BenchRunner.run(single, showsProgress: showsProgress)
          comparison.add(result, target: target)
          if result.isInterrupted { break rounds }
        } catch {
          Console.error("sluice bench: \(error.message)\n")
          return .failed
        }
      }
    }
    guard let path = arguments.value("--json") else {
      Console.output(comparison.text())
      return comparison.status
    }
    do throws(Console.FileError) { try Console.write(comparison.json(), to: path) } catch {
      Console.error("sluice bench: \(error.message)\n")
      return .failed
    }
    return comparison.status
  }

  /// Checks the arguments; `resolve` finds the address of a name.
  static func plan(
    _ arguments: Arguments, resolve: (AddressText) throws(UsageError) -> SocketAddress
  ) throws(UsageError) -> BenchPlan {
    let urls = try urls(arguments)
    var shape = BenchRequestShape()
    shape.fields = try fields(arguments)
    if let body = arguments.value("--body") {
      shape.body = body.hasPrefix("@") ? try file(String(body.dropFirst()), for: "--body") : Array(body.utf8)
      shape.method = "POST"
    }
    shape.method = try method(arguments) ?? shape.method
    shape.keepsAlive = !arguments.has("--no-keepalive")
    let keys = try keys(arguments)
    if !keys.isEmpty { shape.keyField = try keyField(arguments) }
    var socket: SocketAddress?
    if let path = arguments.value("--unix-socket") {
      socket = SocketAddress("unix:\(path)")
      if socket == nil {
        throw UsageError("--unix-socket \(path): give a path of at most \(SocketAddress.longestUnixPath) bytes")
      }
    }
    var targets: [BenchTarget] = []
    var known: [AddressText: SocketAddress] = [:]
    for url in urls {
      let address: SocketAddress
      if let found = socket ?? known[url.place] { address = found } else { address = try resolve(url.place) }
      known[url.place] = address
      let place = BenchPlace(address, serverName: url.serverName)
      targets.append(BenchTarget(url: url.text, place: place, authority: url.authority, target: url.target))
    }
    var plan = BenchPlan(
      targets: targets, requests: targets.map { shape.request(for: $0.authority, target: $0.target) })
    let name = Array(shape.method.utf8)
    plan.method = Method.of(RawSpan(name))
    plan.keys = keys
    plan.keepsAlive = shape.keepsAlive
    try readNumbers(arguments, into: &plan)
    try BenchSecurity.read(arguments, into: &plan)
    return plan
  }

  private static func readNumbers(_ arguments: Arguments, into plan: inout BenchPlan) throws(UsageError) {
    plan.connections = try arguments.integer("--connections", in: 1...BenchPlan.connectionLimit) ?? 64
    plan.threads = try arguments.integer("--threads", in: 1...BenchPlan.threadLimit) ?? 1
    plan.pipeline = try arguments.integer("--pipeline", in: 1...BenchPlan.pipelineLimit) ?? 1
    plan.rate = try arguments.number("--rate", in: 0.001...BenchPlan.rateLimit)
    plan.timeoutNanoseconds =
      try arguments.nanoseconds("--timeout", in: .milliseconds(1)...(.seconds(3600))) ?? plan.timeoutNanoseconds
    plan.warmupNanoseconds = try arguments.nanoseconds("--warmup", in: .zero...(.seconds(86400))) ?? 0
    plan.intervalNanoseconds =
      try arguments.nanoseconds("--interval", in: .milliseconds(10)...(.seconds(3600))) ?? plan.intervalNanoseconds
    let length = try arguments.nanoseconds("--duration", in: .milliseconds(1)...(.seconds(86400)))
    if let count = try arguments.integer("--requests", in: 1...(1 << 50)) {
      if length != nil { throw UsageError("--requests and --duration exclude each other; give one of them") }
      if plan.warmupNanoseconds > 0 { throw UsageError("--warmup goes with --duration; leave --requests out") }
      plan.extent = .requests(UInt64(count))
    } else if let length {
      plan.extent = .nanoseconds(length)
    }
    let least = max(plan.threads, plan.places.count)
    if plan.connections < least {
      throw UsageError(
        "--connections \(plan.connections): every thread and every address needs one; give at least \(least)")
    }
    if plan.pipeline > 1 && plan.rate != nil {
      throw UsageError(
        "--pipeline and --rate exclude each other: requests of one pipeline cannot be due at their own times")
    }
    if plan.pipeline > 1 && !plan.keepsAlive {
      throw UsageError("--pipeline needs connections that are kept; leave --no-keepalive out")
    }
  }

  private static func urls(_ arguments: Arguments) throws(UsageError) -> [BenchURL] {
    var urls: [BenchURL] = []
    for operand in arguments.operands { urls.append(try BenchURL(operand)) }
    if let path = arguments.value("--urls") {
      for line in try lines(path, for: "--urls") {
        if line.hasPrefix("/") {
          guard let first = urls.first else {
            throw UsageError("--urls \(path): \(line) needs a URL as operand to belong to")
          }
          urls.append(try first.with(target: line))
        } else {
          urls.append(try BenchURL(line))
        }
      }
      // With paths from a file, the operand only said where.
      if let first = arguments.operands.first, urls.count > 1, try BenchURL(first).target == "/" { urls.removeFirst() }
    }
    if urls.isEmpty { throw UsageError("nothing to measure; give a URL such as http://127.0.0.1:8080/") }
    return urls
  }

  private static func fields(_ arguments: Arguments) throws(UsageError) -> [String] {
    for field in arguments.values("--header") {
      let name = field.prefix { $0 != ":" }
      guard name.count < field.count, isToken(name), field.utf8.allSatisfy({ $0 >= 32 && $0 != 127 || $0 == 9 }) else {
        throw UsageError("--header \(field): give `Name: value` without control characters")
      }
      if ["content-length", "transfer-encoding"].contains(name.lowercased()) {
        throw UsageError("--header \(field): the length follows from --body; leave it out")
      }
    }
    return arguments.values("--header")
  }

  private static func method(_ arguments: Arguments) throws(UsageError) -> String? {
    guard let name = arguments.value("--method") else { return nil }
    guard isToken(name[...]), name != "CONNECT" else {
      throw UsageError("--method \(name): give a method such as GET or PUT")
    }
    return name
  }

  private static func keys(_ arguments: Arguments) throws(UsageError) -> [[UInt8]] {
    guard let path = arguments.value("--keys") else {
      if arguments.has("--key-header") { throw UsageError("--key-header needs keys; give --keys FILE") }
      return []
    }
    let keys = try lines(path, for: "--keys").map { Array($0.utf8) }
    guard !keys.isEmpty else { throw UsageError("--keys \(path): holds no key") }
    guard keys.allSatisfy({ $0.allSatisfy { $0 >= 32 && $0 != 127 } }) else {
      throw UsageError("--keys \(path): holds control characters")
    }
    return keys
  }

  private static func keyField(_ arguments: Arguments) throws(UsageError) -> String {
    let text = arguments.value("--key-header") ?? "X-API-Key"
    let name = text.prefix { $0 != ":" }
    guard isToken(name), text.utf8.allSatisfy({ $0 >= 32 && $0 < 127 }) else {
      throw UsageError("--key-header \(text): give the name of a field")
    }
    return name.count == text.count ? "\(text): " : "\(text) "
  }

  private static func isToken(_ text: Substring) -> Bool {
    !text.isEmpty
      && text.utf8.allSatisfy {
        (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
          || Array("!#$%&'*+-.^_`|~".utf8).contains($0)
      }
  }

  private static func file(_ path: String, for option: String) throws(UsageError) -> [UInt8] {
    do {
      return try Console.read(path, limit: fileLimit)
    } catch {
      throw UsageError("\(option): \(error.message)")
    }
  }

  /// The lines of a file without blank ones and comments.
  private static func lines(_ path: String, for option: String) throws(UsageError) -> [String] {
    try file(path, for: option).split { $0 == 10 || $0 == 13 }
      .map { line in
        let trimmed = line.drop { $0 == 32 || $0 == 9 }.reversed().drop { $0 == 32 || $0 == 9 }.reversed()
        return String(decoding: Array(trimmed), as: UTF8.self)
      }
      .filter { !$0.isEmpty && !$0.hasPrefix("#") }
  }

  /// The address of a place; a name is looked up, and its first address taken.
  private static func resolve(_ place: AddressText) throws(UsageError) -> SocketAddress {
    guard case .name(let host, let port) = place else {
      guard case .socket(let address) = place else { throw UsageError("\(place): not an address") }
      return address
    }
    let (answer, failure) = BenchResolver.resolve(host)
    guard let answer else { throw UsageError("\(host): \(failure)") }
    return .ip(answer, port: port)
  }
}
