import Cluster
import Core
import Pipeline

extension ConfigurationService {
  /// What belongs to a tenant.
  public struct TenantState: Sendable {
    /// The revision that says so.
    public let revision: Int64
    /// Its objects as their authors wrote them, as a document of their own.
    public let text: [UInt8]
    /// What names them as they are.
    public let tag: String
  }

  /// What became of a change by a tenant's operator.
  public enum TenantApplied: Sendable {
    /// It is this revision, or would be; the tag names what the tenant then has.
    case done(Int64, changes: [PlanChange], tag: String, isChanged: Bool)
    /// It waits for a leader under this name.
    case waiting(String)
  }

  /// A change by a tenant's operator.
  public struct TenantWish: Sendable {
    /// Whose it is.
    public let tenant: String
    /// All that is to belong to the tenant.
    public let text: Text
    /// The tag of what it was made for; nil for any.
    public let tag: String?
    /// Whether only to say what it would change.
    public let isTrial: Bool

    /// A change of these parts.
    public init(tenant: String, text: Text, tag: String?, isTrial: Bool = false) {
      (self.tenant, self.text, self.tag, self.isTrial) = (tenant, text, tag, isTrial)
    }
  }

  /// Takes an answer, once; on any thread.
  public typealias TenantReply<Value: Sendable> = @Sendable (Result<Value, TenantFault>) -> Void

  /// How often a change is made anew because somebody else has changed other things meanwhile.
  private static let tenantAttempts = 16

  /// What belongs to a tenant in the newest revision.
  public func state(ofTenant tenant: String, _ reply: @escaping TenantReply<TenantState>) {
    newest { result in
      switch result {
      case .failure(let fault): reply(.failure(fault))
      case .success(let base):
        work {
          do throws(TenantFault) {
            let (text, objects) = try TenantChange.read(base.body, of: tenant)
            guard text.entry(of: tenant) != nil else { throw .unknown }
            let state = TenantState(
              revision: base.head.revision, text: TenantText.document(objects), tag: TenantChange.tag(of: objects))
            reply(.success(state))
          } catch { reply(.failure(error)) }
        }
      }
    }
  }

  /// Makes a tenant's objects those of the next revision.
  public func apply(
    _ wish: TenantWish, author: String, message: String, _ reply: @escaping TenantReply<TenantApplied>
  ) {
    newest { result in
      switch result {
      case .failure(let fault): reply(.failure(fault))
      case .success(let base):
        proceed(wish, on: base, attempt: 1, author: author, message: message, reply)
      }
    }
  }

  /// Runs `action` where nobody waits for it, with the keys that the cluster has made.
  private func withKeys(_ action: @escaping @Sendable (IssuedKeys?) -> Void) {
    node.agree { agent in
      let keys = agent?.factKeeper.view.keys
      work { action(keys) }
    }
  }

  private struct TenantBase: Sendable {
    let own: NodeSections
    let head: RevisionHead
    let body: RevisionBody
  }

  /// The newest revision: that of the store, since whoever has just changed something through another node, or through this one,
  /// sees what came of it. Where the store does not answer, what this node knows has to do; nothing is changed then.
  private func newest(_ reply: @escaping TenantReply<TenantBase>) {
    present { result in
      switch result {
      case .failure(let fault): reply(.failure(.service(fault)))
      case .success(let present):
        history(from: 0, count: 1) { entries in
          let newest = (try? entries.get())?.first?.head.revision ?? 0
          if newest > present.revision { return base(newest, present.own, reply) }
          guard let head = present.head else { return reply(.failure(.noRevision)) }
          if let running = present.running, running.head == head {
            return reply(.success(TenantBase(own: present.own, head: head.head, body: running.body)))
          }
          base(present.revision, present.own, reply)
        }
      }
    }
  }

  private func base(_ revision: Int64, _ own: NodeSections, _ reply: @escaping TenantReply<TenantBase>) {
    text(revision) { result in
      reply(
        result.mapError { TenantFault.service($0) }.map { TenantBase(own: own, head: $0.head, body: $0.body) })
    }
  }

  private func proceed(
    _ wish: TenantWish, on base: TenantBase, attempt: Int, author: String, message: String,
    _ reply: @escaping TenantReply<TenantApplied>
  ) {
    // It would take what is being tried to all nodes.
    guard base.head.stage.isEmpty else { return reply(.failure(.staged)) }
    withKeys { keys in
      let change = TenantChange(tenant: wish.tenant, document: wish.text, tag: wish.tag, own: base.own) {
        keys.map { Set($0.ownConsumers).subtracting($0.ownConsumers(ofTenant: wish.tenant)) } ?? []
      }
      let made: TenantChange.Made
      do throws(TenantFault) { made = try change.made(from: base.body) } catch { return reply(.failure(error)) }
      let revision = base.head.revision
      if wish.isTrial || made.changes.isEmpty {
        return reply(
          .success(.done(revision, changes: made.changes, tag: made.tag, isChanged: !made.changes.isEmpty)))
      }
      propose(RevisionDraft(.apply(made.body), base: revision, author: author, message: message)) { result in
        switch result {
        case .success(.published(let number)):
          reply(.success(.done(number, changes: made.changes, tag: made.tag, isChanged: true)))
        case .success(.waiting(let id)): reply(.success(.waiting(id)))
        case .failure(.conflict(let current)) where attempt < Self.tenantAttempts && current > 0:
          // Somebody else has changed something: as long as that is nothing of the tenant's, it need not know.
          self.base(current, base.own) { result in
            switch result {
            case .failure(let fault): reply(.failure(fault))
            case .success(let next):
              proceed(wish, on: next, attempt: attempt + 1, author: author, message: message, reply)
            }
          }
        // What the leader says may be about others.
        case .failure(.refused): reply(.failure(.refused("The leader of the cluster does not take it.")))
        case .failure(let fault): reply(.failure(.service(fault)))
        }
      }
    }
  }
}
