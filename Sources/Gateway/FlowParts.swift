import Core
import HTTP
import Net
import Pipeline
import Traffic

/// What the node tells its loops.
public enum FlowMessage: Sendable {
  /// Serve new requests under this configuration; a port that cannot be opened is reported, and that it is done. What the
  /// loop has no use for any more is given to `retire`, from now on: to be freed where nobody waits for it.
  case configure(
    Blueprint, BlueprintShared, report: @Sendable (ListenError) -> Void, done: @Sendable () -> Void = {},
    retire: @Sendable (Blueprint, BlueprintShared) -> Void = { _, _ in })
  /// An upstream's names have resolved anew; the state tells which upstream it is.
  case endpoints(EndpointSet)
  /// These endpoints, by id, do not answer when asked for their health any more.
  case unwell([Int32])
  /// Somebody outside wants to know how limits stand.
  case inquire(Inquiry)
  /// What the name of a server of the shared store stands for; nil where that could not be found out.
  case resolvedStore(host: String, [IPAddress]?)
  /// The facts of the cluster have changed. Each loop says so once it goes by them.
  case facts(FactView, taken: @Sendable () -> Void)
  /// Something has been fetched.
  case fetched(FetchNews)
  /// A password was checked that a loop has left at its desk with this number.
  case password(UInt64, isRight: Bool)
  /// What became of what a loop wanted of a shared record, with this number.
  case record(RecordOutcome, order: UInt64)
  /// Stop accepting; end when nothing is left, after so many nanoseconds at the latest.
  case drain(nanoseconds: Int64)
}

/// Where a loop's policies find what is done for them elsewhere: what is fetched, passwords that are checked, and records
/// that nodes share.
public struct LoopFetches {
  let desk: FetchDesk
  let issuers: IssuerBook
  var passwords: PasswordDesk?
  var records: RecordDesk?
}

/// Objects that a flow owns and passes on with every request; see ``Borrowed``.
struct LentObjects<LoopWorld: World> {
  let world: Borrowed<Transport<LoopWorld>>
  let loop: Borrowed<LoopWorld>
  let input: Borrowed<ByteBuffer>
  let request: Borrowed<RequestHead>
  let response: Borrowed<ResponseHead>
  let forwarded: Borrowed<ForwardedBlock>

  init(
    world: Transport<LoopWorld>, loop: LoopWorld, input: ByteBuffer,
    request: RequestHead, response: ResponseHead, forwarded: ForwardedBlock
  ) {
    self.world = Borrowed(world)
    self.loop = Borrowed(loop)
    self.input = Borrowed(input)
    self.request = Borrowed(request)
    self.response = Borrowed(response)
    self.forwarded = Borrowed(forwarded)
  }
}

/// A queue of tickets that is emptied every turn: they are taken in the order in which they came.
struct TicketList: ~Copyable {
  private var tickets = OwnedArray<UInt64>()
  private var taken = 0

  var isEmpty: Bool { taken == tickets.count }

  mutating func append(_ ticket: UInt64) { tickets.append(ticket) }

  /// The oldest ticket that has not been taken; the last one's place is given back with it.
  @inline(__always)
  mutating func next() -> UInt64? {
    guard taken < tickets.count else {
      if taken > 0 {
        tickets.removeAll()
        taken = 0
      }
      return nil
    }
    taken &+= 1
    return tickets[taken &- 1]
  }
}

/// A listening socket of one loop.
struct ListenerSlot {
  let address: SocketAddress
  /// The socket; none once the listener is closed.
  var socket: Socket
  var expectsProxyHeader: Bool
  var passesThrough: Bool
  var tls: ListenerTLS?
  /// Whether clients may begin with HTTP/2 without TLS.
  var acceptsHTTP2: Bool
  /// The port of https that every request is sent to; nil for none.
  var redirect: UInt16?
  /// Whether requests are taken that come before the end of a handshake.
  var acceptsEarlyData: Bool { tls?.options.acceptsEarlyData == true }
  /// Descriptors have run out: the queue is left alone for a moment.
  var isPaused = false
  /// There was more to accept than one turn allows.
  var inputWaits = false
  var isOpen: Bool { socket != .none }
}

/// Connections that may be shed, in the order in which they got there.
struct ClientQueues {
  struct Ends {
    var first: Int32 = -1
    var last: Int32 = -1
  }

  private var slow = Ends()
  private var idle = Ends()

  /// The ends of a queue; ``ClientSlot/Queue/none`` has none and must not be asked for.
  subscript(queue: ClientSlot.Queue) -> Ends {
    get { queue == .slow ? slow : idle }
    set { if queue == .slow { slow = newValue } else { idle = newValue } }
  }
}

/// Time limits towards an upstream, in nanoseconds.
struct FlowTimeouts {
  /// Until a connection stands.
  var connect: Int64 = 1_000_000_000
  /// From the end of the request to the head of the response.
  var response: Int64 = 15_000_000_000
  /// Without a byte once the response has begun.
  var idle: Int64 = 60_000_000_000
}
