//! x
use crate::{config::Config, storage::memory::{MappedMemory, MemoryStorage, TableSize, Grace}, metrics::Metrics, pipeline::Pipeline};
use std::sync::Arc; use arc_swap::ArcSwap; use tracker_common::connection::ConnectionIds;
/// x
pub struct Kernel; 
/// x
pub struct DataPlane;
impl Kernel { /// x
 pub fn map_table(&self, size:&TableSize)->std::io::Result<MappedMemory>{MappedMemory::anonymous(size)} /// x
 pub fn grace(&self)->Grace {Box::new(||())}}
/// x
pub fn load(_c:&Config,_s:&TableSize)->anyhow::Result<Option<Kernel>>{Ok(None)}
impl DataPlane { /// x
 pub fn start(_k: Kernel,_c:&Config,_i:ConnectionIds,_s:&Arc<MemoryStorage>,_p:&Arc<ArcSwap<Pipeline>>,_m:&Arc<Metrics>)->anyhow::Result<Self>{Ok(Self)}}
