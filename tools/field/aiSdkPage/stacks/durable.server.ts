import { durable } from './durable'
import { serve } from './serve'

serve(durable)
