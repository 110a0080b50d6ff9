//! What runs inside Redis: a change of who is there and its announcement are one step.
//!
//! One script with five modes, so that only one has to be loaded. `KEYS`: members, users. `ARGV`: the channel of
//! announcements, `ttl` in milliseconds, the instance, the mode, then the mode's own arguments.

/// The script. It answers with the incarnation, the number of users, and how many were swept; in the mode
/// `roster` with the list of users in place of the last.
///
/// - The hash of users is rebuilt from the members when it alone is missing, and emptied when it alone is there:
///   each instance puts its own users back.
/// - Expired members are swept first, so that a newcomer is not shown users who are gone.
/// - The field `!` has the incarnation of the room. No user can have that name: it would be escaped.
pub(super) const SCRIPT: &str = r"
local M,U,N,ttl,inst,mode=KEYS[1],KEYS[2],ARGV[1],tonumber(ARGV[2]),ARGV[3],ARGV[4]
local function count() local n=redis.call('HLEN',U) if n>0 and redis.call('HGET',U,'!') then n=n-1 end return n end
local function user(m) return string.match(m,'^[^:]*') end
if redis.call('HLEN',U)==0 then
  for _,m in ipairs(redis.call('ZRANGEBYSCORE',M,'-inf','+inf')) do redis.call('HINCRBY',U,user(m),1) end
end
if mode=='roster' then
  local n,e=count(),redis.call('HGET',U,'!') or ''
  if n>tonumber(ARGV[5]) then return {e,n} end
  local t={}
  for _,u in ipairs(redis.call('HKEYS',U)) do if u~='!' then t[#t+1]=u end end
  local list=table.concat(t,' ')
  if #list>500000 then return {e,n} end
  return {e,n,list}
end
local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000)
local swept,added=0,0
local function minus(m)
  local u=user(m)
  if redis.call('HINCRBY',U,u,-1)<=0 then redis.call('HDEL',U,u) redis.call('PUBLISH',N,'leave '..u) end
end
if count()>0 and redis.call('ZCOUNT',M,'-inf','+inf')==0 then
  for _,u in ipairs(redis.call('HKEYS',U)) do redis.call('HDEL',U,u) end
end
for _,m in ipairs(redis.call('ZRANGEBYSCORE',M,'-inf',now)) do redis.call('ZREM',M,m) swept=swept+1 minus(m) end
for i=5,#ARGV do
  local m=ARGV[i]
  if mode=='leave' then
    if redis.call('ZREM',M,m)==1 then minus(m) end
  elseif redis.call('ZADD',M,now+ttl,m)==1 then
    added=added+1
    if redis.call('HINCRBY',U,user(m),1)==1 then redis.call('PUBLISH',N,'join '..user(m)) end
  end
end
redis.call('HSETNX',U,'!',inst..now)
redis.call('PEXPIRE',M,2*ttl) redis.call('PEXPIRE',U,2*ttl)
if mode=='repair' and added>0 then redis.call('PUBLISH',N,'sync') end
return {redis.call('HGET',U,'!'),count(),swept}
";

/// What the script is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Adds these members.
    Join,
    /// Adds members that should be there already; if one was not, every instance reads the roster anew.
    Repair,
    /// Takes these members out.
    Leave,
    /// Takes out members whose deadline has passed.
    Sweep,
    /// Reads the list of users, or only their number when there are more than the limit.
    Roster,
}

impl Mode {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Repair => "repair",
            Self::Leave => "leave",
            Self::Sweep => "sweep",
            Self::Roster => "roster",
        }
    }
}
