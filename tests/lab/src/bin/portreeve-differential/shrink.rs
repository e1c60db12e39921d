//! A world that still shows a difference, with as little in it as possible.

use anyhow::Result;
use serde_json::Value;

use crate::world::World;

/// Takes away one policy, rule, peer, port, label or value after the other, as long as `differs` says that the difference stays. Greedy, from the largest part to the smallest, until nothing more can go.
pub async fn shrink<F>(world: &World, differs: impl Fn(World) -> F) -> Result<World>
where
    F: Future<Output = Result<bool>>,
{
    let mut smallest = world.clone();
    loop {
        let mut shrunk = false;
        let mut index = 0;
        while let Some(smaller) = without(&smallest, index) {
            if differs(smaller.clone()).await? {
                smallest = smaller;
                shrunk = true;
            } else {
                index += 1;
            }
        }
        if !shrunk {
            return Ok(smallest);
        }
    }
}

/// The world without its part of this number; policies come first, then what is in them.
fn without(world: &World, index: usize) -> Option<World> {
    let mut smaller = world.clone();
    if index < smaller.policies.len() {
        smaller.policies.remove(index);
        return Some(smaller);
    }
    let mut left = index - smaller.policies.len();
    for policy in &mut smaller.policies {
        if remove(&mut policy["spec"], &mut left) {
            return Some(smaller);
        }
    }
    None
}

/// Removes the part of number `left` below a value, or counts the parts off.
fn remove(value: &mut Value, left: &mut usize) -> bool {
    match value {
        Value::Array(list) => {
            if *left < list.len() {
                list.remove(*left);
                return true;
            }
            *left -= list.len();
            list.iter_mut().any(|inner| remove(inner, left))
        }
        Value::Object(map) => {
            if let Some(key) = map.keys().nth(*left).cloned() {
                map.remove(&key);
                return true;
            }
            *left -= map.len();
            map.values_mut().any(|inner| remove(inner, left))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_does_not_matter_goes() {
        let policies = json!([
            {"spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}, {"ipBlock": {"cidr": "a"}}], "ports": [{"port": 1}]}]}},
            {"spec": {"egress": [{}]}},
        ]);
        let world = World { policies: policies.as_array().unwrap().clone(), ..World::empty(0) };
        let differs = |world: World| {
            std::future::ready(Ok(world.policies.iter().any(|policy| policy.to_string().contains("ipBlock"))))
        };
        let smallest = shrink(&world, differs).await.unwrap();
        assert_eq!(smallest.policies, [json!({"spec": {"ingress": [{"from": [{"ipBlock": {}}]}]}})]);
    }
}
