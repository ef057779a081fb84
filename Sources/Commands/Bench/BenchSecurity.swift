import Core
import Crypto

/// What the command line says of TLS and HTTP/2.
enum BenchSecurity {
  /// Reads it into a plan whose targets are known.
  static func read(_ arguments: Arguments, into plan: inout BenchPlan) throws(UsageError) {
    try readStreams(arguments, into: &plan)
    plan.resumes = !arguments.has("--no-resume")
    guard plan.isSecure else {
      for option in ["--ca", "--insecure", "--no-resume"] where arguments.has(option) || arguments.value(option) != nil
      {
        throw UsageError("\(option) goes with https; give such a URL")
      }
      return
    }
    var settings = TLSClientSettings()
    settings.verifies = !arguments.has("--insecure")
    settings.protocols = [plan.isMultiplexed ? "h2" : "http/1.1"]
    if let path = arguments.value("--ca") {
      if !settings.verifies { throw UsageError("--ca and --insecure exclude each other; give one of them") }
      settings.authorities = try authorities(path)
    }
    do throws(TLSFault) {
      plan.security = try TLSClientContext(settings)
    } catch {
      throw UsageError("no TLS: \(error.message)")
    }
  }

  private static func readStreams(_ arguments: Arguments, into plan: inout BenchPlan) throws(UsageError) {
    let (overTLS, inCleartext) = (arguments.has("--h2"), arguments.has("--h2c"))
    let streams = try arguments.integer("--streams", in: 1...BenchPlan.streamLimit)
    plan.isMultiplexed = overTLS || inCleartext
    guard plan.isMultiplexed else {
      if streams != nil { throw UsageError("--streams goes with HTTP/2; add --h2 or --h2c") }
      return
    }
    if overTLS && inCleartext { throw UsageError("--h2 and --h2c exclude each other; give one of them") }
    for target in plan.targets where (target.place.serverName != nil) != overTLS {
      throw UsageError(
        overTLS
          ? "--h2 \(target.url): goes with https; give such a URL, or --h2c"
          : "--h2c \(target.url): is cleartext; give a URL of http, or --h2")
    }
    if !plan.keepsAlive {
      throw UsageError("--no-keepalive goes with HTTP/1.1, whose connections carry one request; leave it or HTTP/2 out")
    }
    if plan.pipeline > 1 { throw UsageError("--pipeline goes with HTTP/1.1; take --streams") }
    plan.streams = streams ?? 1
    if plan.connections * plan.streams > BenchPlan.connectionLimit {
      throw UsageError(
        "--connections \(plan.connections) --streams \(plan.streams): together more than \(BenchPlan.connectionLimit) streams"
      )
    }
  }

  private static func authorities(_ path: String) throws(UsageError) -> TLSAuthorities {
    do {
      return try TLSAuthorities(certificates: try Console.read(path, limit: BenchCommand.fileLimit))
    } catch let error as TLSFault {
      throw UsageError("--ca \(path): \(error.message)")
    } catch let error as Console.FileError {
      throw UsageError("--ca: \(error.message)")
    } catch {
      throw UsageError("--ca \(path): cannot be read")
    }
  }

  /// What to do about a handshake that failed.
  static func advice(on fault: String) -> String {
    if fault.contains("certificate is not good") {
      return "give its authority with --ca, call the server as its certificate does, or take --insecure"
    }
    return "does the server speak TLS there, and the protocol that was asked for?"
  }
}
