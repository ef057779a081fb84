import Core

/// A handler on its loop.
public final class SimulatedNode<Handler: EventHandler & ~Copyable>: LoopBody {
  /// The handler, to be looked at between turns.
  public var handler: Handler
  /// The handler's view of the world.
  public unowned let loop: SimulatedLoop
  private var mail: [Handler.Message] = []
  private var hasStarted = false

  init(_ loop: SimulatedLoop, _ handler: consuming Handler) {
    self.loop = loop
    self.handler = handler
  }

  /// Whether the handler still runs.
  public var isRunning: Bool { !loop.isStopped }

  /// Sends the handler a message, as another thread would.
  public func send(_ message: Handler.Message) {
    mail.append(message)
    loop.requestTurn()
  }

  /// Ends the process between two turns, as a crash would: the handler is not asked.
  public func kill() { loop.stop() }

  func turn(_ events: [(token: UInt64, readiness: Readiness)]) -> Instant? {
    if !hasStarted {
      // A loop asks for the first deadline before it waits for the first event.
      hasStarted = true
      _ = handler.endTurn()
    }
    for event in events { handler.ready(token: event.token, event.readiness) }
    let messages = mail
    mail = []
    for message in messages { handler.receive(message) }
    let deadline = handler.endTurn()
    guard handler.isRunning else { return nil }
    return deadline
  }
}
