import Core
import Net
import Pipeline

extension ExchangeSlot {
  /// Adds the line of an exchange that ended `elapsed` nanoseconds after it began, at `wallTime`, to `stream`.
  ///
  /// Objects are only borrowed: the slot keeps the head and the configuration, the configuration the names and upstreams,
  /// the stream its buffer, and nothing here changes any of them.
  @inline(never)
  mutating func writeLog(_ log: AccessLog, to stream: LogStream, wallTime: WallTime, elapsed: Int64) {
    guard let configuration else { return }
    let now = exchange.startedAt.advanced(byNanoseconds: elapsed)
    let head = Borrowed(exchange.head)
    let block = Borrowed(stream.buffer)
    configuration.with { configuration in
      var summary = summarize(configuration, now: now, elapsed: elapsed, wallTime: wallTime)
      summary.receivedBytes = head.with { Int64($0.count) } &+ requestBody.received
      let names = endpoints?.part { $0.names } ?? Borrowed(EndpointsInUse.noNames)
      head.with { head in
        names.with { endpoints in
          block.with { block in
            log.write(
              &self, summary, head: head.bytesAndSlack, names: configuration.names, endpoints: endpoints, into: block)
          }
        }
      }
    }
    if !exchange.shadows.isEmpty { configuration.with { log.addShadows(&self, $0.names, to: stream.buffer) } }
    stream.endLine(now: now)
  }

  @inline(__always)
  private func summarize(
    _ configuration: LoopConfiguration, now: Instant, elapsed: Int64, wallTime: WallTime
  ) -> AccessSummary {
    var summary = AccessSummary()
    summary.microseconds = Self.microseconds(elapsed)
    summary.time = WallTime(microseconds: wallTime.microseconds &- summary.microseconds)
    if upstreamStartedAt != .never {
      summary.upstreamMicroseconds = Self.microseconds(now.nanoseconds(since: upstreamStartedAt))
    }
    summary.key = configuration.logIndex(ofKey: exchange.key, of: exchange.consumer)
    summary.firstLimit =
      configuration.firstLimit(ofRoute: exchange.route) &+ Int32(truncatingIfNeeded: exchange.limits.firstName)
    return summary
  }

  /// Whole microseconds; time that ran backwards is none.
  @inline(__always)
  private static func microseconds(_ nanoseconds: Int64) -> Int64 {
    Int64(truncatingIfNeeded: UInt64(truncatingIfNeeded: max(nanoseconds, 0)) / 1_000)
  }
}

extension ExchangeSlot: AccessFacts {
  var texts: AccessTexts { access }
  var isSecure: Bool { exchange.isSecure }
  var isHTTP10: Bool { clientIsHTTP10 }
  var refusalCode: StaticString? { refusal?.code }
  var address: IPAddress { exchange.client }
  var trace: TraceContext { exchange.trace }
  var sentBytes: Int64 { sentToClient }
  var routeIndex: Int32 { exchange.route }
  var consumerIndex: Int32 { exchange.consumer }
  var endpointIndex: Int32 { position }
  var limitDecision: LimitDecision { exchange.limits.decision }
  var limitSource: LimitSource { exchange.limits.source }
  var limitCount: Int { exchange.limits.count }
  var shadows: ShadowVerdicts { exchange.shadows }

  var firstShadow: Int32 {
    configuration.map { $0.with { $0.firstShadow(ofRoute: exchange.route) } } ?? -1
  }

  func shadowCode(_ index: Int) -> StaticString { exchange.shadowCode(index) }

  @inline(never)
  func writeCaller(to line: inout AccessLogLine) {
    if let name = exchange.identity.flatMap({ $0.subject ?? $0.client }) {
      line.literal(",\"subject\":\"")
      line.name(name)
      line.byte(UInt8(ascii: "\""))
      writeTenant(exchange.consumer >= 0 ? nil : exchange.identity?.tenant, to: &line)
      return
    }
    guard let services = configuration?.part({ $0.services }) else { return }
    let consumer: Consumer? = services.with {
      exchange.consumer >= Services.firstOwnConsumer ? $0.consumer(exchange.consumer) : nil
    }
    if let consumer {
      line.literal(",\"consumer\":\"")
      line.name(consumer.id)
      line.byte(UInt8(ascii: "\""))
      writeTenant(consumer.tenant, to: &line)
    }
    guard let key = services.with({ $0.keyName(exchange.key, of: exchange.consumer, issued: exchange.issuedKey) })
    else { return }
    line.literal(",\"key\":\"")
    line.name(key)
    line.byte(UInt8(ascii: "\""))
  }

  private func writeTenant(_ tenant: String?, to line: inout AccessLogLine) {
    guard let tenant else { return }
    line.literal(",\"tenant\":\"")
    line.name(tenant)
    line.byte(UInt8(ascii: "\""))
  }

  @inline(__always)
  mutating func limit(_ index: Int) -> (remaining: Int64, isDenied: Bool) {
    (exchange.limits[index].remaining, exchange.limits[index].isDenied)
  }
}
